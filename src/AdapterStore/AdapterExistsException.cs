namespace InferenceServer.AdapterStore;

/// <summary>An adapter was to be new, and its name is taken.</summary>
public sealed class AdapterExistsException : Exception
{
    /// <param name="adapter">The name.</param>
    public AdapterExistsException(string adapter)
        : base($"adapter '{adapter}' exists already")
    {
        Adapter = adapter;
    }

    public string Adapter { get; }
}
