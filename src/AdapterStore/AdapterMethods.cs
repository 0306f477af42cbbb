namespace InferenceServer.AdapterStore;

/// <summary>The names of methods in adapter_config.json.</summary>
public static class AdapterMethods
{
    /// <summary>peft_type of a method.</summary>
    public static string PeftType(this AdapterMethod method) =>
        method == AdapterMethod.Routed ? "ROUTED_LORA" : method.ToString().ToUpperInvariant();
}
