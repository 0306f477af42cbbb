namespace InferenceServer.Server.Hosting;

/// <summary>
/// Stands before the model: closed until it is loaded and its loop runs, and closed again once the server stops. Services take what they
/// need through it, so that a call that comes too early or too late gets UNAVAILABLE instead of waiting.
/// </summary>
public sealed class ServingGate
{
    private volatile Serving? _serving;
    private volatile string _reason = "the model is still loading";

    /// <summary>Whether requests are taken.</summary>
    public bool IsOpen => _serving is not null;

    /// <summary>What serves.</summary>
    /// <exception cref="NotServingException">Not yet, or no more.</exception>
    public Serving Current => _serving ?? throw new NotServingException(_reason);

    internal void Open(Serving serving)
    {
        _serving = serving;
    }

    internal void Close(string reason)
    {
        _reason = reason;
        _serving = null;
    }
}
