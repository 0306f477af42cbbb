namespace InferenceServer.Server.Training;

/// <summary>What training logs.</summary>
internal static partial class TrainingLog
{
    [LoggerMessage(1, LogLevel.Information, "Training {Job} of '{Adapter}' is queued: {Bytes} bytes of data")]
    public static partial void Queued(ILogger log, string job, string adapter, long bytes);

    [LoggerMessage(2, LogLevel.Information, "Training {Job} runs: from step {Step}, base weights {Weights}")]
    public static partial void Running(ILogger log, string job, int step, string weights);

    [LoggerMessage(3, LogLevel.Information, "Training {Job} is {State} after {Steps} steps, {Seconds:0.0} s of training; published: {Adapter}")]
    public static partial void Ended(ILogger log, string job, string state, int steps, double seconds, string adapter);

    [LoggerMessage(4, LogLevel.Warning, "Training {Job} failed: {Reason}")]
    public static partial void Failed(ILogger log, string job, string reason);

    [LoggerMessage(5, LogLevel.Error, "Training {Job} failed")]
    public static partial void Broken(ILogger log, string job, Exception error);

    [LoggerMessage(6, LogLevel.Error, "Training {Job} is {State}, but its folder could not be written; a restart takes it up again")]
    public static partial void NotSaved(ILogger log, string job, string state, Exception error);

    [LoggerMessage(7, LogLevel.Warning, "Training {Job} published '{Adapter}', but it could not be loaded: {Reason}")]
    public static partial void NotLoaded(ILogger log, string job, string adapter, string reason);

    [LoggerMessage(8, LogLevel.Warning, "Training jobs: '{Job}' {Reason}")]
    public static partial void Problem(ILogger log, string job, string reason);

    [LoggerMessage(9, LogLevel.Information, "Judged {Subject} by {Samples} samples: loss {Loss:0.0000}, {Seconds:0.0} s")]
    public static partial void Evaluated(ILogger log, string subject, int samples, double loss, double seconds);

    [LoggerMessage(10, LogLevel.Information, "Folded {Adapter} into a model for download, {Seconds:0.0} s")]
    public static partial void Folded(ILogger log, string adapter, double seconds);
}
