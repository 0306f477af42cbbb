using InferenceServer.Training.Jobs;
using InferenceServer.Training.Runs;
using InferenceServer.UnitTests.AdapterStore;
using Xunit;

namespace InferenceServer.UnitTests.Training.Jobs;

/// <summary>Jobs on disk, whatever interrupts their writing.</summary>
[Trait("Category", "Training")]
public sealed class JobStoreTests(JobBench bench) : IClassFixture<JobBench>
{
    [Fact]
    public void A_job_outlives_the_process_that_took_it()
    {
        string folder = bench.NewFolder();
        StoredJob job = bench.Start(bench.Open(folder));

        StoredJob found = Assert.Single(bench.Open(folder).List());

        Assert.Equal(job.Current, found.Current);
        Assert.Equal(job.Spec, found.Spec);
        Assert.Equal(16, File.ReadAllLines(found.DataPath).Length);
        Assert.Equal([new JobEvent(1, new JobStateChanged(JobState.Queued) { Time = job.Current.CreatedAt, Step = 0 })], found.ReadEvents());
    }

    [Fact]
    public void A_crash_at_any_moment_of_a_start_leaves_the_whole_job_or_none()
    {
        FailingFiles counting = new();
        bench.Start(bench.Open(bench.NewFolder(), counting));
        int jobs = 0;
        for (int step = 0; step < counting.Steps; step++)
        {
            string folder = bench.NewFolder();
            FailingFiles files = new() { FailAt = step, StaysDown = true };
            Assert.ThrowsAny<IOException>(() => bench.Start(bench.Open(folder, files)));

            JobStore next = bench.Open(folder);

            Assert.Empty(next.Problems);
            Assert.Equal(next.List().Count, Directory.GetFileSystemEntries(folder).Length);
            foreach (StoredJob job in next.List())
            {
                Assert.Equal((JobState.Queued, 1L), (job.Current.State, job.Current.LastEvent));
                jobs++;
            }
        }

        Assert.Equal(1, jobs);
    }

    [Fact]
    public void A_running_job_is_queued_again_after_a_kill_and_half_a_line_of_its_log_is_cut_off()
    {
        string folder = bench.NewFolder();
        StoredJob job = bench.Start(bench.Open(folder));
        job.Change(now => now with { State = JobState.Running }, job.StateEvent(JobState.Running));
        job.Append(new StepDone(2.5, 1, 1e-3, 0, 100, TimeSpan.Zero) { Time = job.Now, Step = 1, Seconds = 0.5, Tokens = 50 });
        File.AppendAllText(Path.Combine(job.Folder, "events.jsonl"), """{"number":4,"happened":{"event":"st""");

        StoredJob found = bench.Open(folder).Get(job.Id);

        Assert.Equal((JobState.Queued, 1, 2.5, 4L), (found.Current.State, found.Current.Step, found.Current.Loss, found.Current.LastEvent));
        Assert.Equal((0.5, 50L), (found.Current.Costs.TrainingSeconds, found.Current.Costs.Tokens));
        Assert.Equal([1, 2, 3, 4], found.ReadEvents().Select(happened => happened.Number));
        Assert.Equal(JobState.Queued, Assert.IsType<JobStateChanged>(found.ReadEvents().Last().Happened).State);
        Assert.Equal(found.Current, bench.Open(folder).Get(job.Id).Current);
    }

    [Fact]
    public void A_crash_between_a_job_s_end_and_its_last_events_tells_them_after_the_restart_once()
    {
        const string Adapter = "pupil@0000";
        FailingFiles counting = new();
        StoredJob whole = bench.Start(bench.Open(bench.NewFolder(), counting));
        int before = counting.Steps;
        Assert.False(End(whole, counting, failAt: -1));
        int changes = counting.Steps - before;
        for (int step = 0; step < changes; step++)
        {
            string folder = bench.NewFolder();
            FailingFiles files = new() { StaysDown = true };
            StoredJob job = bench.Start(bench.Open(folder, files));
            Assert.True(End(job, files, step));

            StoredJob found = bench.Open(folder).Get(job.Id);
            TrainingEvent[] events = [.. found.ReadEvents().Select(happened => happened.Happened)];
            bool isEnded = found.Current.State == JobState.Completed;
            Assert.Equal(isEnded ? 1 : 0, events.Count(happened => happened is AdapterPublished { Adapter: Adapter }));
            Assert.Equal(isEnded ? 1 : 0, events.Count(happened => happened is JobStateChanged { State: JobState.Completed }));
            Assert.Equal(isEnded ? Adapter : null, found.Current.PublishedAdapter);
            Assert.Equal(found.Current, bench.Open(folder).Get(job.Id).Current);
        }

        static bool End(StoredJob job, FailingFiles files, int failAt)
        {
            files.FailAt = failAt < 0 ? -1 : files.Steps + failAt;
            try
            {
                job.Change(
                    now => now with { State = JobState.Completed, PublishedAdapter = Adapter },
                    new AdapterPublished(Adapter) { Time = job.Now, Step = 6 },
                    job.StateEvent(JobState.Completed));
                return false;
            }
            catch (IOException)
            {
                return true;
            }
        }
    }

    [Fact]
    public async Task Watchers_see_each_event_once_however_often_they_come_back()
    {
        StoredJob job = bench.Start(bench.Open(bench.NewFolder()));
        Task<List<JobEvent>> whole = job.WatchAsync(0).ToListAsync().AsTask();
        List<JobEvent> pieces = [];
        for (int step = 1; step <= 300; step++)
        {
            job.Append(new StepDone(1.0 / step, 1, 1e-3, 0, 100, TimeSpan.Zero) { Time = job.Now, Step = step });
            job.Announce();
            if (step % 7 == 0)
            {
                pieces.AddRange(await job.WatchAsync(pieces.Count).Take(5).ToListAsync());
            }
        }

        job.Change(now => now with { State = JobState.Completed }, job.StateEvent(JobState.Completed));
        job.Announce();
        pieces.AddRange(await job.WatchAsync(pieces.Count).ToListAsync());

        Assert.Equal(Enumerable.Range(1, 302).Select(number => (long)number), pieces.Select(happened => happened.Number));
        Assert.Equal(pieces, await whole);
    }

    [Fact]
    public void A_damaged_job_is_reported_and_left_alone()
    {
        string folder = bench.NewFolder();
        StoredJob job = bench.Start(bench.Open(folder));
        string path = Path.Combine(job.Folder, "job.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace("Queued", "Failed", StringComparison.Ordinal));

        JobStore store = bench.Open(folder);

        Assert.Empty(store.List());
        Assert.Contains("checksum", Assert.Single(store.Problems).Reason, StringComparison.Ordinal);
        Assert.True(File.Exists(job.DataPath));
    }
}
