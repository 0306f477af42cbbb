using System.Runtime.ExceptionServices;
using InferenceServer.AdapterStore;

namespace InferenceServer.Server.Training;

/// <summary>
/// Work that a call asks for beside serving: one piece at a time, on a thread of the lowest priority, with a bound on those that wait.
/// </summary>
/// <param name="what">What errors call the pieces, in the plural.</param>
/// <param name="limit">Most that run and wait.</param>
internal sealed class SideWork(string what, int limit) : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly CancellationTokenSource _stopping = new();
    private int _places;

    /// <summary>Takes a place until the result is disposed.</summary>
    /// <exception cref="CapacityExceededException">All are taken.</exception>
    public IDisposable Enter()
    {
        if (Interlocked.Increment(ref _places) > limit)
        {
            Interlocked.Decrement(ref _places);
            throw new CapacityExceededException($"{limit} {what} run or wait, and that is the limit; try again later", limit + 1, limit);
        }

        return new Place(this);
    }

    /// <summary>Waits for the turn and does the work.</summary>
    /// <param name="work">Looks at its token often: it is over when this method returns, cancelled or not.</param>
    /// <param name="cancellation">Of the call.</param>
    public async Task<T> RunAsync<T>(Func<CancellationToken, T> work, CancellationToken cancellation)
    {
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _stopping.Token);
        await _turn.WaitAsync(either.Token);
        try
        {
            return await Start(work, either.Token);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Stops what runs, waits for that, and lets nothing begin any more.</summary>
    public void Stop()
    {
        _stopping.Cancel();
        _turn.Wait();

        // Given back, so that whoever waits for it, or stops a second time, does not wait for ever.
        _turn.Release();
    }

    public void Dispose()
    {
        _stopping.Dispose();
        _turn.Dispose();
    }

    private Task<T> Start<T>(Func<CancellationToken, T> work, CancellationToken cancellation)
    {
        TaskCompletionSource<T> done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        // Two threads: what awaits goes on in the thread pool, whose new threads would inherit the low priority of one that completes it.
        Thread waiting = new(() =>
        {
            (T? result, ExceptionDispatchInfo? failure) = (default, null);
            Thread computing = new(() =>
            {
                try
                {
                    LowPriority.Enter();
                    result = work(cancellation);
                }
                catch (Exception error)
                {
                    failure = ExceptionDispatchInfo.Capture(error);
                }
            })
            {
                IsBackground = true,
                Name = what,
            };
            computing.Start();
            computing.Join();
            if (failure is null)
            {
                done.SetResult(result!);
            }
            else
            {
                done.SetException(failure.SourceException);
            }
        })
        {
            IsBackground = true,
            Name = what + " (waiting)",
        };
        waiting.Start();
        return done.Task;
    }

    private sealed class Place(SideWork work) : IDisposable
    {
        private int _isLeft;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isLeft, 1) == 0)
            {
                Interlocked.Decrement(ref work._places);
            }
        }
    }
}
