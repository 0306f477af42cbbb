using Xunit;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>What serving may rely on while a job runs, and what an operator sees of it.</summary>
[Trait("Category", "Training")]
public sealed class TrainingPriorityTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    private const string Lowest = "19";

    [LinuxFact]
    public async Task Threads_that_train_have_the_lowest_priority_and_no_thread_of_the_pool_inherits_it()
    {
        await using RunningServer server = await RunningServer.StartAsync(
            data: null, builder => builder.Configuration["Training:Niceness"] = Lowest, "--model", tiny.Folder, "--training-threads", "2");
        string id = (await server.Client.Training.StartAsync(JobSpecs.Plain("pupil", steps: 100_000), JobSpecs.Data())).Id;
        using CancellationTokenSource done = new();
        Task<int> watching = server.Client.Training.WatchAsync(id, cancellationToken: done.Token).Take(10).CountAsync(CancellationToken.None).AsTask();
        await Jobs.ReachAsync(server.Client.Training, id, 2);

        string ordinary = NicenessOf(File.ReadAllText("/proc/self/stat"));
        (string Name, string Nice)[] threads = [.. Threads()];

        Assert.Contains(("training", Lowest), threads);
        Assert.Contains(threads, thread => thread.Name.StartsWith("cpu worker", StringComparison.Ordinal) && thread.Nice == Lowest);
        Assert.Contains(threads, thread => thread.Name.StartsWith("cpu worker", StringComparison.Ordinal) && thread.Nice == ordinary);
        Assert.Contains(("training queue", ordinary), threads);
        Assert.Equal(10, await watching);
        Assert.DoesNotContain(Threads(), thread => thread.Name.StartsWith(".NET TP", StringComparison.Ordinal) && thread.Nice == Lowest);
        await server.Client.Training.CancelAsync(id);
    }

    [Fact]
    public async Task Jobs_by_state_steps_tokens_and_pace_are_among_the_metrics()
    {
        await using RunningServer server = await tiny.ServeAsync();
        await Jobs.FinishAsync(server.Client.Training, (await server.Client.Training.StartAsync(JobSpecs.Plain("pupil"), JobSpecs.Data())).Id);

        string metrics = await server.Http.GetStringAsync("/metrics");

        // Other servers in this process have meters of the same names, so that only their being there can be asked for, not the numbers.
        foreach (string state in (string[])["queued", "running", "completed", "stopped_early", "cancelled", "failed"])
        {
            Assert.Matches($"(?m)^training_jobs\\{{.*state=\"{state}\".*\\}} [0-9]", metrics);
        }

        Assert.Matches("(?m)^training_steps_total.* [1-9]", metrics);
        Assert.Matches("(?m)^training_tokens_total.* [1-9]", metrics);
        Assert.Matches("(?m)^training_pace", metrics);
    }

    /// <summary>Name and niceness of every thread of this process.</summary>
    private static IEnumerable<(string Name, string Nice)> Threads()
    {
        foreach (string task in Directory.GetDirectories("/proc/self/task"))
        {
            string stat;
            try
            {
                stat = File.ReadAllText(Path.Combine(task, "stat"));
            }
            catch (IOException)
            {
                // It has ended since.
                continue;
            }

            yield return (stat[(stat.IndexOf('(', StringComparison.Ordinal) + 1)..stat.LastIndexOf(')')], NicenessOf(stat));
        }
    }

    // "tid (name) state ...": the name may hold spaces; niceness is the 19th field of all, the 17th after the name.
    private static string NicenessOf(string stat) => stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[16];
}
