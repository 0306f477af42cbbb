using InferenceServer.Client;
using InferenceServer.IntegrationTests.Crash;
using InferenceServer.Protocol.V1;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>kill -9 amid training: the job goes on by itself, and ends with the very bits of one that nobody killed.</summary>
[Trait("Category", "Slow")]
[Trait("Category", "Training")]
public sealed class TrainingKillTests(TrainingBase tiny, ITestOutputHelper output) : IClassFixture<TrainingBase>
{
    private const int Steps = 150;

    [Fact]
    public async Task Killed_again_and_again_a_job_ends_as_one_that_was_not()
    {
        string expected;
        await using (RunningServer server = await tiny.ServeAsync())
        {
            TrainingJob whole = await server.Client.Training.StartAsync(JobSpecs.Plain("whole", Steps, checkpointEvery: 10), JobSpecs.Data());
            expected = Jobs.Digest(await Jobs.FinishAsync(server.Client.Training, whole.Id));
        }

        using TemporaryFolder data = new();
        string[] options = ["--model", tiny.Folder, "--training-threads", "1"];
        List<TrainingEvent> seen = [];
        string id = "";
        foreach (int until in (int[])[1, 9, 34, 58, 97, 121])
        {
            using ServerProcess server = await ServerProcess.StartAsync(data.Path, options);
            if (id.Length == 0)
            {
                id = (await server.Client.Training.StartAsync(JobSpecs.Plain("killed", Steps, checkpointEvery: 10), JobSpecs.Data())).Id;
            }

            await WatchAsync(server.Client.Training, id, seen, happened => happened.StepDone is not null && happened.Step >= until);
            await server.KillAsync();
        }

        using ServerProcess last = await ServerProcess.StartAsync(data.Path, options);
        await WatchAsync(last.Client.Training, id, seen, _ => false);
        TrainingJob job = await last.Client.Training.GetAsync(id);

        Assert.True(job.State == TrainingState.Completed, $"{job.State}: {job.Error}");
        Assert.Equal(expected, Jobs.Digest(job.PublishedAdapter));
        AdapterInfo served = await last.Client.Adapters.GetAsync("killed");
        Assert.Equal((expected, 1), (served.Digest, await last.Client.Adapters.ListAsync(allVersions: true).CountAsync()));
        Assert.Equal(Enumerable.Range(1, seen.Count).Select(number => (long)number), seen.Select(happened => happened.Number));
        int[] resumed = [.. seen.Where(happened => happened.Started is not null).Select(happened => happened.Started.ResumedFrom)];

        // The server was ahead of what was seen of it when it was killed, so that the places themselves are not known.
        Assert.All(resumed, step => Assert.Equal(0, step % 10));
        Assert.Equal(resumed.Order(), resumed);
        Assert.True(resumed.Length >= 5 && resumed[^1] > 0, $"resumed from {string.Join(", ", resumed)} only: the test hardly tests");
        output.WriteLine($"6 kills, resumed from steps {string.Join(", ", resumed)}, {seen.Count} events, digest {expected[..12]} as uninterrupted");
    }

    /// <summary>Takes the watch up where it was cut, until something happened or the job is at rest.</summary>
    private static async Task WatchAsync(TrainingClient training, string id, List<TrainingEvent> seen, Func<TrainingEvent, bool> isEnough)
    {
        await foreach (TrainingEvent happened in training.WatchAsync(id, seen.Count == 0 ? 0 : seen[^1].Number))
        {
            seen.Add(happened);
            if (isEnough(happened))
            {
                return;
            }
        }
    }
}
