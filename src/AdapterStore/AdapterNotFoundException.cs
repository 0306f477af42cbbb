namespace InferenceServer.AdapterStore;

/// <summary>No adapter of this name (or version) is known.</summary>
public sealed class AdapterNotFoundException : Exception
{
    /// <param name="adapter">Name or name@digest that was asked for.</param>
    public AdapterNotFoundException(string adapter)
        : base($"adapter '{AdapterFormatException.Shown(adapter)}' does not exist")
    {
        Adapter = adapter;
    }

    public string Adapter { get; }
}
