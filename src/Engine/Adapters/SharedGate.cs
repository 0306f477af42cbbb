namespace InferenceServer.Engine.Adapters;

/// <summary>Lets in many at once or one alone, in order of arrival, so that neither kind starves the other.</summary>
internal sealed class SharedGate
{
    private readonly Lock _lock = new();

    // Guarded by _lock.
    private readonly LinkedList<Waiter> _waiters = [];
    private int _inside;
    private bool _isAlone;

    /// <summary>Waits to be let in; followed by <see cref="Leave"/>.</summary>
    public async ValueTask EnterAsync(bool alone, CancellationToken cancellation)
    {
        Waiter waiter = new(this, alone);
        lock (_lock)
        {
            _waiters.AddLast(waiter);
            Admit();
        }

        using CancellationTokenRegistration registration =
            cancellation.UnsafeRegister(static (state, token) => ((Waiter)state!).Gate.Cancel((Waiter)state, token), waiter);
        await waiter.Entered.Task;
    }

    public void Leave()
    {
        lock (_lock)
        {
            _inside--;
            _isAlone = false;
            Admit();
        }
    }

    private void Cancel(Waiter waiter, CancellationToken cancellation)
    {
        lock (_lock)
        {
            if (!_waiters.Remove(waiter))
            {
                return;
            }

            Admit();
        }

        waiter.Entered.SetCanceled(cancellation);
    }

    // Lock held.
    private void Admit()
    {
        while (_waiters.First?.Value is { } first && !_isAlone && (_inside == 0 || !first.IsAlone))
        {
            _waiters.RemoveFirst();
            _inside++;
            _isAlone = first.IsAlone;
            first.Entered.SetResult();
        }
    }

    private sealed class Waiter(SharedGate gate, bool isAlone)
    {
        public SharedGate Gate { get; } = gate;

        public bool IsAlone { get; } = isAlone;

        public TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
