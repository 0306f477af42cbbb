using System.Diagnostics;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Server.Training;

namespace InferenceServer.Server.Hosting;

/// <summary>Checks the stored adapters against their digests beside serving, on a thread of the lowest priority.</summary>
internal sealed class ContentVerification : IDisposable
{
    private readonly AdapterCatalog _catalog;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Thread _thread;

    public ContentVerification(AdapterCatalog catalog, ILogger log)
    {
        _catalog = catalog;
        _log = log;
        _thread = new Thread(Run) { IsBackground = true, Name = "adapter verification" };
        _thread.Start();
    }

    public void Dispose()
    {
        _stopping.Cancel();
        _thread.Join();
        _stopping.Dispose();
    }

    private void Run()
    {
        LowPriority.Enter();
        long start = Stopwatch.GetTimestamp();
        try
        {
            (int versions, long bytes) = _catalog.VerifyContents(_stopping.Token);
            if (versions > 0)
            {
                ServerLog.AdaptersVerified(_log, versions, ByteSize.Format(bytes), Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
        }
        catch (OperationCanceledException)
        {
            // The next start looks again.
        }
    }
}
