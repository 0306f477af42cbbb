namespace InferenceServer.Engine;

/// <summary>The engine's life.</summary>
public enum EngineState
{
    /// <summary>Not started.</summary>
    New,

    Running,

    /// <summary>Takes no requests; what runs may finish.</summary>
    Draining,

    Stopped,

    /// <summary>The loop died of an error outside any step, or of a lost device; the process should be restarted.</summary>
    Faulted,
}
