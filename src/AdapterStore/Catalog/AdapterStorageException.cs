namespace InferenceServer.AdapterStore.Catalog;

/// <summary>The disk failed (full, read-only, input/output error); the message says whether anything was changed.</summary>
public sealed class AdapterStorageException : IOException
{
    /// <param name="adapter">The adapter's name.</param>
    /// <param name="action">What was being done to it.</param>
    /// <param name="inner">The disk's error.</param>
    /// <param name="isChanged">Whether the change was made and only its last sync failed.</param>
    public AdapterStorageException(string adapter, string action, Exception inner, bool isChanged = false)
        : base($"{action} adapter '{adapter}' failed, {Outcome(isChanged)}: {inner.Message}", inner)
    {
        Adapter = adapter;
        IsChanged = isChanged;
    }

    /// <summary>Whether the change was made and only its last sync failed, so that a crash may undo it.</summary>
    public bool IsChanged { get; }

    private static string Outcome(bool isChanged) => isChanged ? "the change is made but a crash may undo it" : "nothing was changed";

    public string Adapter { get; }
}
