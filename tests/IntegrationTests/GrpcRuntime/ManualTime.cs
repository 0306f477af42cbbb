using System.Collections.Concurrent;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>A clock that a test moves; it counts one-shot timers only.</summary>
public sealed class ManualTime : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly List<ManualTimer> _timers = [];
    private readonly ConcurrentDictionary<TimeSpan, TaskCompletionSource> _started = new();
    private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow() => _now;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ManualTimer timer = new(() => callback(state), _now + dueTime);
        lock (_gate)
        {
            _timers.Add(timer);
        }

        Entry(dueTime).TrySetResult();
        return timer;
    }

    /// <summary>Ends when a timer of that time has been started.</summary>
    public Task TimerStarted(TimeSpan dueTime) => Entry(dueTime).Task;

    public void Advance(TimeSpan by)
    {
        ManualTimer[] due;
        lock (_gate)
        {
            _now += by;
            due = [.. _timers.Where(timer => timer.Due <= _now)];
            _timers.RemoveAll(timer => timer.Due <= _now);
        }

        foreach (ManualTimer timer in due)
        {
            timer.Fire();
        }
    }

    private TaskCompletionSource Entry(TimeSpan dueTime) =>
        _started.GetOrAdd(dueTime, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

    private sealed class ManualTimer(Action callback, DateTimeOffset due) : ITimer
    {
        private bool _disposed;

        public DateTimeOffset Due { get; } = due;

        public void Fire()
        {
            if (!_disposed)
            {
                callback();
            }
        }

        public bool Change(TimeSpan dueTime, TimeSpan period) => throw new NotSupportedException();

        public void Dispose() => _disposed = true;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
