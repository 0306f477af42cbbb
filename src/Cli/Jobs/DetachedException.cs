namespace InferenceServer.Cli.Jobs;

/// <summary>Ctrl-C while jobs were watched: what was begun goes on, and the message says how to find it again.</summary>
internal sealed class DetachedException(string message, CancellationToken cancellationToken)
    : OperationCanceledException(message, cancellationToken)
{
    public static DetachedException From(string job, CancellationToken cancellationToken) => new(
        $"detached; job {job} goes on: 'inferencectl jobs watch {job}' takes it up again, 'inferencectl jobs cancel {job}' stops it",
        cancellationToken);
}
