namespace InferenceServer.AdapterStore.Catalog;

/// <summary>The two files of an upload.</summary>
public enum AdapterFilePart
{
    /// <summary>adapter_config.json.</summary>
    Config,

    /// <summary>adapter_model.safetensors.</summary>
    Weights,
}
