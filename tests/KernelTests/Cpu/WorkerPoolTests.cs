using InferenceServer.Cpu.Threading;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

public sealed class WorkerPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Every_item_is_done_once(int workers)
    {
        using WorkerPool pool = new(workers);
        CountingJob job = new(1000);
        for (int run = 1; run <= 200; run++)
        {
            pool.Run(job, run % 7 == 0 ? 1000 : run % 5, parallel: true);
        }

        int[] expected = new int[1000];
        for (int run = 1; run <= 200; run++)
        {
            for (int item = 0; item < (run % 7 == 0 ? 1000 : run % 5); item++)
            {
                expected[item]++;
            }
        }

        Assert.Equal(expected, job.Counts);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void An_exception_of_any_item_reaches_the_caller_and_the_pool_lives_on(int workers)
    {
        using WorkerPool pool = new(workers);
        CountingJob job = new(100) { FailingItem = 57 };

        InvalidOperationException exception = Assert.Throws<InvalidOperationException>(() => pool.Run(job, 100, parallel: true));
        Assert.Equal("item 57", exception.Message);

        CountingJob next = new(100);
        pool.Run(next, 100, parallel: true);
        Assert.All(next.Counts, count => Assert.Equal(1, count));
    }

    [Fact]
    public void A_job_that_is_not_parallel_stays_on_the_caller()
    {
        using WorkerPool pool = new(4);
        CountingJob job = new(100);

        pool.Run(job, 100, parallel: false);

        Assert.Equal([0], job.Workers);
    }

    [Fact]
    public void Idle_workers_sleep_and_wake_again()
    {
        using WorkerPool pool = new(3);
        for (int round = 0; round < 3; round++)
        {
            CountingJob job = new(50);
            pool.Run(job, 50, parallel: true);
            Assert.All(job.Counts, count => Assert.Equal(1, count));
            Assert.True(SpinWait.SpinUntil(() => pool.SleepingCount == 2, TimeSpan.FromSeconds(30)), $"workers asleep in round {round}");
        }
    }

    private sealed class CountingJob : ParallelJob
    {
        private readonly HashSet<int> _workers = [];

        public CountingJob(int items) => Counts = new int[items];

        public int[] Counts { get; }

        public int FailingItem { get; init; } = -1;

        public IEnumerable<int> Workers => _workers;

        public override void Execute(int item, int worker)
        {
            if (item == FailingItem)
            {
                throw new InvalidOperationException($"item {item}");
            }

            Interlocked.Increment(ref Counts[item]);
            lock (_workers)
            {
                _workers.Add(worker);
            }
        }
    }
}
