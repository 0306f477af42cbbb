namespace InferenceServer.Tensors.Memory;

/// <summary>Who has a chunk of a shared memory.</summary>
public enum ChunkOwner
{
    /// <summary>Nobody; nothing may read or write there.</summary>
    None,

    /// <summary>KV blocks.</summary>
    KeyValues,

    /// <summary>Adapters.</summary>
    Adapters,
}
