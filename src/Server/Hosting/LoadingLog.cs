using InferenceServer.Models.Transformer;

namespace InferenceServer.Server.Hosting;

/// <summary>Logs how far the loading of a model is, about once a second: a small model is loaded before it has anything to say.</summary>
internal sealed class LoadingLog(ILogger log, TimeProvider time) : IProgress<LoadProgress>
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(1);

    private readonly long _start = time.GetTimestamp();
    private TimeSpan _next = s_period;

    public void Report(LoadProgress value)
    {
        TimeSpan now = time.GetElapsedTime(_start);
        if (now < _next)
        {
            return;
        }

        _next = now + s_period;
        ServerLog.LoadingProgress(
            log, value.Modules, value.TotalModules, ByteSize.Format(value.LoadedBytes), ByteSize.Format((long)(value.LoadedBytes / now.TotalSeconds)));
    }
}
