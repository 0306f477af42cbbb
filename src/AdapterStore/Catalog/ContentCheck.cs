namespace InferenceServer.AdapterStore.Catalog;

/// <summary>When the contents of stored adapters are hashed to find silent damage. Sizes and headers are always checked at start.</summary>
public enum ContentCheck
{
    /// <summary>Never.</summary>
    Never,

    /// <summary>Beside serving, and each adapter at its first load if that comes earlier: none is served unchecked, and none waits for the others.</summary>
    Beside,

    /// <summary>Before anything is served: about a second for each gigabyte in the page cache, and the disk's time for what is not.</summary>
    BeforeServing,
}
