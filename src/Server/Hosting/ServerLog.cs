namespace InferenceServer.Server.Hosting;

/// <summary>What the host logs.</summary>
internal static partial class ServerLog
{
    [LoggerMessage(2, LogLevel.Information, "Loading {Model} from {Folder}")]
    public static partial void Loading(ILogger log, string model, string folder);

    [LoggerMessage(3, LogLevel.Information,
        "Serving {Model} ({Architecture}, {Parameters} parameters, {WeightFormat}, {WeightBytes}) on {Device}; loaded in {Seconds:0.00} s")]
    public static partial void Serving(
        ILogger log,
        string model,
        string architecture,
        long parameters,
        string weightFormat,
        string weightBytes,
        string device,
        double seconds);

    [LoggerMessage(4, LogLevel.Information,
        "Limits: {MaxLength} tokens a sequence, {MaxRunning} running, {MaxWaiting} waiting, {MaxBatchTokens} tokens a step, "
        + "{KvBlocks} KV blocks of {KvBlockSize}, adapters {HostBytes} on host and {DeviceBytes} on device, {Adapters} adapters in {Data}")]
    public static partial void Limits(
        ILogger log,
        int maxLength,
        int maxRunning,
        int maxWaiting,
        int maxBatchTokens,
        int kvBlocks,
        int kvBlockSize,
        string hostBytes,
        string deviceBytes,
        int adapters,
        string data);

    [LoggerMessage(5, LogLevel.Information, "Ready: gRPC on {Grpc}, metrics and health on {Http}")]
    public static partial void Ready(ILogger log, string grpc, string http);

    [LoggerMessage(6, LogLevel.Critical, "Cannot serve: {Reason}")]
    public static partial void CannotServe(ILogger log, string reason);

    [LoggerMessage(7, LogLevel.Information, "Stopping: new requests are refused, running calls have {Seconds} s")]
    public static partial void Stopping(ILogger log, int seconds);

    [LoggerMessage(8, LogLevel.Error, "{Method} failed")]
    public static partial void MethodFailed(ILogger log, string method, Exception error);

    [LoggerMessage(9, LogLevel.Information, "Adapter {Name}@{Digest} uploaded: {Bytes} bytes in {Seconds:0.00} s")]
    public static partial void Uploaded(ILogger log, string name, string digest, long bytes, double seconds);

    [LoggerMessage(10, LogLevel.Information, "Adapter {Adapter}: {Change}")]
    public static partial void AdapterChanged(ILogger log, string adapter, string change);

    [LoggerMessage(11, LogLevel.Critical, "Loading failed")]
    public static partial void LoadFailed(ILogger log, Exception error);

    [LoggerMessage(12, LogLevel.Information, "Loading: {Modules} of {TotalModules} modules, {Bytes} on the device, {Rate}/s")]
    public static partial void LoadingProgress(ILogger log, int modules, int totalModules, string bytes, string rate);

    [LoggerMessage(13, LogLevel.Information, "Packed weights: {Bytes} from {File}")]
    public static partial void PackedUsed(ILogger log, string bytes, string file);

    [LoggerMessage(14, LogLevel.Warning, "Packed weights: {File} is not used, packing from the checkpoint: {Problem}")]
    public static partial void PackedRefused(ILogger log, string file, string problem);

    [LoggerMessage(15, LogLevel.Information, "Packed weights: wrote {Bytes} to {File} for the next start")]
    public static partial void PackedSaved(ILogger log, string bytes, string file);

    [LoggerMessage(16, LogLevel.Warning, "Packed weights: {File} could not be written, the next start packs again: {Problem}")]
    public static partial void PackedNotSaved(ILogger log, string file, string problem);

    [LoggerMessage(17, LogLevel.Information, "Packed weights: removed {File} ({Bytes}) to make room")]
    public static partial void PackedEvicted(ILogger log, string file, string bytes);

    [LoggerMessage(18, LogLevel.Information, "CUDA is not used: {Reason}; the CPU computes")]
    public static partial void NoCuda(ILogger log, string reason);

    [LoggerMessage(19, LogLevel.Warning, "Pinned adapter {Adapter} was not brought to the device: {Reason}")]
    public static partial void PinNotRestored(ILogger log, string adapter, string reason);

    [LoggerMessage(20, LogLevel.Information, "Adapters: {Versions} versions, {Bytes}, are as they were stored; checked in {Seconds:0.0} s")]
    public static partial void AdaptersVerified(ILogger log, int versions, string bytes, double seconds);

    [LoggerMessage(21, LogLevel.Error, "Stored adapters: {Subject}: {Reason}")]
    public static partial void AdapterProblem(ILogger log, string subject, string reason);
}
