using Microsoft.Extensions.Logging;

namespace InferenceServer.Engine.Telemetry;

/// <summary>What the engine logs. Prompts and outputs are never among it.</summary>
internal static partial class EngineLog
{
    [LoggerMessage(1, LogLevel.Information, "engine started: {Blocks} KV blocks of {BlockSize} tokens ({Bytes} bytes), steps of {MaxTokens} tokens and {MaxSequences} sequences at most")]
    public static partial void Started(ILogger logger, int blocks, int blockSize, long bytes, int maxTokens, int maxSequences);

    [LoggerMessage(20, LogLevel.Information, "KV blocks and adapters share {Bytes} bytes in chunks of {ChunkBytes}; KV blocks can count on {KvBytes}, adapters on {AdapterBytes}")]
    public static partial void MemoryIsShared(ILogger logger, long bytes, long chunkBytes, long kvBytes, long adapterBytes);

    [LoggerMessage(2, LogLevel.Information, "engine stopped")]
    public static partial void Stopped(ILogger logger);

    [LoggerMessage(3, LogLevel.Error, "a step of {Tokens} tokens failed, and with it {Sequences} requests")]
    public static partial void StepFailed(ILogger logger, Exception error, int tokens, int sequences);

    [LoggerMessage(4, LogLevel.Critical, "the engine loop died: every request is failed and none is taken")]
    public static partial void LoopDied(ILogger logger, Exception error);

    [LoggerMessage(5, LogLevel.Error, "request {RequestId} failed: {Reason}")]
    public static partial void RequestFailed(ILogger logger, string requestId, string reason);

    [LoggerMessage(6, LogLevel.Information, "merged {Adapter} into the base: {Modules} modules, {Bytes} bytes beside it, {Seconds} s")]
    public static partial void Merged(ILogger logger, string adapter, int modules, long bytes, double seconds);

    [LoggerMessage(7, LogLevel.Information, "took {Adapter} out of the base")]
    public static partial void Unmerged(ILogger logger, string adapter);

    [LoggerMessage(8, LogLevel.Warning, "an automatic change of the merged adapter failed; the base is {State}")]
    public static partial void AutomaticMergeFailed(ILogger logger, Exception error, string state);

    [LoggerMessage(9, LogLevel.Warning, "{Count} requests were still running when the time to drain was over")]
    public static partial void DrainTimedOut(ILogger logger, int count);

    [LoggerMessage(10, LogLevel.Information, "merging {Adapter} moves its logits by at most {Tenant}, everybody else's by {Others}, of logits up to {Largest}")]
    public static partial void LogitsChanged(ILogger logger, string adapter, float tenant, float others, float largest);

    [LoggerMessage(11, LogLevel.Warning, "what merging {Adapter} does to logits could not be measured")]
    public static partial void MergeNotMeasured(ILogger logger, Exception error, string adapter);
}
