namespace InferenceServer.Cli.Jobs;

/// <summary>Ctrl-C while a job was watched: the job goes on.</summary>
internal sealed class DetachedException(string job, CancellationToken cancellationToken) : OperationCanceledException(
    $"detached; job {job} goes on: 'inferencectl jobs watch {job}' takes it up again, 'inferencectl jobs cancel {job}' stops it",
    cancellationToken);
