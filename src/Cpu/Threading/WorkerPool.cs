using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Threading;

/// <summary>
/// Threads that live as long as the backend; the calling thread is worker 0. Workers take items from one shared counter, so a slow or
/// absent worker holds nobody up: the caller waits only for workers that have entered the job. After a job they spin for a moment,
/// because the next operation follows within microseconds, then sleep until woken.
/// </summary>
/// <remarks>One thread at a time may call <see cref="Run"/>. Nothing is allocated by it.</remarks>
internal sealed class WorkerPool : IDisposable
{
    private const long Open = 1L << 31;
    private const long EnteredMask = 0xffff;
    private const int SpinsBeforeYield = 2000;
    private const int ElementsPerItem = 1 << 14;
    private const int ItemsPerWorker = 4;
    private static readonly long s_spinTicks = Stopwatch.Frequency / 25_000;

    private readonly Action? _beforeRun;
    private readonly Thread[] _threads;
    private readonly SemaphoreSlim[] _wakeUps;
    private readonly int[] _sleeping;
    private Shared _shared;
    private ParallelJob? _job;
    private int _itemCount;
    private Exception? _failure;
    private volatile bool _stopping;

    /// <param name="workers">Threads in all, the caller included.</param>
    /// <param name="beforeRun">Called on the caller's thread before each job; null for nothing.</param>
    public WorkerPool(int workers, Action? beforeRun = null)
    {
        _beforeRun = beforeRun;
        _threads = new Thread[workers - 1];
        _wakeUps = new SemaphoreSlim[workers - 1];
        _sleeping = new int[workers - 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            int worker = i + 1;
            _wakeUps[i] = new SemaphoreSlim(0);
            _threads[i] = new Thread(() => WorkerLoop(worker)) { IsBackground = true, Name = $"cpu worker {worker}" };
            _threads[i].Start();
        }
    }

    /// <summary>Threads in all, the caller included.</summary>
    public int WorkerCount => _threads.Length + 1;

    /// <summary>Workers that sleep: all but the caller, a moment after the last job.</summary>
    public int SleepingCount
    {
        get
        {
            int count = 0;
            for (int i = 0; i < _sleeping.Length; i++)
            {
                count += Volatile.Read(ref _sleeping[i]);
            }

            return count;
        }
    }

    /// <summary>
    /// Rows of an item of work that passes once over rows: taking an item costs about 100 ns where two threads take them, as much as a hundred vectors do.
    /// </summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Elements of each.</param>
    public int RowsPerItem(int rows, int columns)
    {
        int fair = (rows + (ItemsPerWorker * WorkerCount) - 1) / (ItemsPerWorker * WorkerCount);
        return Math.Clamp(ElementsPerItem / Math.Max(columns, 1), 1, Math.Max(fair, 1));
    }

    /// <summary>Does all items and returns when they are done; an exception of any item is thrown here, the items not begun are dropped.</summary>
    /// <param name="job">The work.</param>
    /// <param name="itemCount">Items <c>0 .. itemCount - 1</c>.</param>
    /// <param name="parallel">False keeps all items on the caller's thread: waking others costs about a microsecond.</param>
    public void Run(ParallelJob job, int itemCount, bool parallel)
    {
        _beforeRun?.Invoke();
        if (!parallel || itemCount <= 1 || _threads.Length == 0)
        {
            for (int item = 0; item < itemCount; item++)
            {
                job.Execute(item, 0);
            }

            return;
        }

        Debug.Assert(_job is null, "one job at a time");
        _job = job;
        _itemCount = itemCount;
        _shared.NextItem = 0;

        // A new generation, open for entry. Workers that see it late find it closed again and wait for the next.
        long generation = ((_shared.State >> 32) % (int.MaxValue - 1)) + 1;
        Volatile.Write(ref _shared.State, (generation << 32) | Open);
        Interlocked.MemoryBarrier();
        Wake(itemCount - 1);
        TakeItems(0);
        Interlocked.And(ref _shared.State, ~Open);
        AwaitEntered();
        _job = null;
        if (_failure is not null)
        {
            Exception failure = _failure;
            _failure = null;
            ExceptionDispatchInfo.Throw(failure);
        }
    }

    public void Dispose()
    {
        if (_stopping)
        {
            return;
        }

        _stopping = true;
        Volatile.Write(ref _shared.State, ((_shared.State >> 32) + 1) << 32);
        foreach (SemaphoreSlim wakeUp in _wakeUps)
        {
            wakeUp.Release();
        }

        foreach (Thread thread in _threads)
        {
            thread.Join();
        }

        foreach (SemaphoreSlim wakeUp in _wakeUps)
        {
            wakeUp.Dispose();
        }
    }

    private void WorkerLoop(int worker)
    {
        long seen = 0;
        while (true)
        {
            long state = AwaitGeneration(seen, worker);
            if (_stopping)
            {
                return;
            }

            seen = state >> 32;
            if ((state & Open) == 0)
            {
                continue;
            }

            if (Interlocked.CompareExchange(ref _shared.State, state + 1, state) != state)
            {
                // Another worker entered first, or the job closed: look again with fresh eyes.
                seen--;
                continue;
            }

            TakeItems(worker);
            Interlocked.Decrement(ref _shared.State);
        }
    }

    private long AwaitGeneration(long seen, int worker)
    {
        while (true)
        {
            long deadline = Stopwatch.GetTimestamp() + s_spinTicks;
            do
            {
                long state = Volatile.Read(ref _shared.State);
                if (state >> 32 != seen)
                {
                    return state;
                }

                Thread.SpinWait(4);
            }
            while (Stopwatch.GetTimestamp() < deadline);

            // Say "asleep" first and look once more: the caller looks at the flags after it has opened a job, so one of us sees the other.
            ref int sleeping = ref _sleeping[worker - 1];
            Interlocked.Exchange(ref sleeping, 1);
            if (Volatile.Read(ref _shared.State) >> 32 == seen || Interlocked.Exchange(ref sleeping, 0) == 0)
            {
                _wakeUps[worker - 1].Wait();
            }
        }
    }

    private void Wake(int wanted)
    {
        for (int i = 0; i < _sleeping.Length && i < wanted; i++)
        {
            if (Volatile.Read(ref _sleeping[i]) != 0 && Interlocked.Exchange(ref _sleeping[i], 0) != 0)
            {
                _wakeUps[i].Release();
            }
        }
    }

    private void TakeItems(int worker)
    {
        ParallelJob job = _job!;
        int count = _itemCount;
        try
        {
            while (true)
            {
                int item = Interlocked.Increment(ref _shared.NextItem) - 1;
                if (item >= count)
                {
                    return;
                }

                job.Execute(item, worker);
            }
        }
        catch (Exception exception)
        {
            Interlocked.CompareExchange(ref _failure, exception, null);
            Interlocked.Exchange(ref _shared.NextItem, count);
        }
    }

    private void AwaitEntered()
    {
        int spins = 0;
        while ((Volatile.Read(ref _shared.State) & EnteredMask) != 0)
        {
            Thread.SpinWait(1);
            if (++spins > SpinsBeforeYield)
            {
                // A worker that entered may have lost its core: let it have ours.
                Thread.Yield();
                spins = 0;
            }
        }
    }

    /// <summary>What all workers touch, each on cache lines of its own so that spinning on one does not slow the others.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 384)]
    private struct Shared
    {
        /// <summary>Generation in the upper 32 bits, then the open bit, then how many workers are inside.</summary>
        [FieldOffset(128)]
        public long State;

        [FieldOffset(256)]
        public int NextItem;
    }
}
