namespace InferenceServer.Engine.Errors;

/// <summary>The engine takes no requests: it has not started, is stopping or has stopped.</summary>
public sealed class EngineStoppedException : Exception
{
    public EngineStoppedException(string message)
        : base(message)
    {
    }
}
