using InferenceServer.AdapterStore;
using InferenceServer.Engine.Telemetry;
using Microsoft.Extensions.Logging;

namespace InferenceServer.Engine.Merging;

/// <summary>Asks a <see cref="MergePolicy"/> from time to time and does what it says.</summary>
internal sealed class AutomaticMerging : IDisposable
{
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly TimeSpan _period;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly MergePolicy _policy; // guarded by _lock: the loop observes, the timer decides
    private Task _running = Task.CompletedTask;

    public AutomaticMerging(MergeOptions options, TimeProvider time, ILogger logger)
    {
        _policy = new MergePolicy(options);
        _period = options.Window / 10;
        _time = time;
        _logger = logger;
    }

    public void Observe(AdapterId? adapter, int tokens)
    {
        lock (_lock)
        {
            _policy.Observe(_time.GetUtcNow(), adapter, tokens);
        }
    }

    public void Start(Merger merger) => _running = RunAsync(merger);

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _running;
    }

    public void Dispose() => _stop.Dispose();

    private async Task RunAsync(Merger merger)
    {
        using PeriodicTimer timer = new(_period, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                MergeDecision decision;
                lock (_lock)
                {
                    decision = _policy.Decide(_time.GetUtcNow(), merger.Merged?.Id);
                }

                if (decision.IsChange)
                {
                    await ChangeAsync(merger, decision.Target);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The engine is stopping.
        }
    }

    private async Task ChangeAsync(Merger merger, AdapterId? target)
    {
        try
        {
            await merger.UnmergeAsync(_stop.Token);
            if (target is AdapterId id)
            {
                await merger.MergeAsync(id, _stop.Token);
            }
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            // Whatever it is, the base is whole and requests are served; the cool-down keeps this from being tried at every tick.
            EngineLog.AutomaticMergeFailed(_logger, error, merger.Merged is null ? "unmerged" : "merged");
        }
        finally
        {
            lock (_lock)
            {
                _policy.Changed(_time.GetUtcNow());
            }
        }
    }
}
