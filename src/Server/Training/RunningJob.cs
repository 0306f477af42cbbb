using InferenceServer.Training.Jobs;

namespace InferenceServer.Server.Training;

/// <summary>The job at hand, and whether it is to stop.</summary>
internal sealed class RunningJob(StoredJob job) : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private volatile bool _isCancelled;

    public StoredJob Job { get; } = job;

    /// <summary>Asks to stop after the step at hand.</summary>
    public CancellationToken Stop => _stop.Token;

    /// <summary>Whether it was a client who asked, and not the server's end.</summary>
    public bool IsCancelled => _isCancelled;

    public void Cancel()
    {
        _isCancelled = true;
        _stop.Cancel();
    }

    public void Interrupt() => _stop.Cancel();

    public void Dispose() => _stop.Dispose();
}
