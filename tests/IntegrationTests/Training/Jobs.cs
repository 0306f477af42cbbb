using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Waits for what a job comes to.</summary>
internal static class Jobs
{
    /// <summary>Waits for the end, which has to be a good one; the published adapter.</summary>
    public static async Task<string> FinishAsync(TrainingClient training, string id)
    {
        TrainingJob job = await EndAsync(training, id);
        Assert.True(job.State == TrainingState.Completed, $"{job.State}: {job.Error}");
        return job.PublishedAdapter;
    }

    /// <summary>Waits until the job is at rest.</summary>
    public static async Task<TrainingJob> EndAsync(TrainingClient training, string id)
    {
        await foreach (TrainingEvent _ in training.WatchAsync(id))
        {
        }

        return await training.GetAsync(id);
    }

    /// <summary>Waits until so many steps are done.</summary>
    public static async Task ReachAsync(TrainingClient training, string id, int step)
    {
        await foreach (TrainingEvent happened in training.WatchAsync(id))
        {
            if (happened.StepDone is not null && happened.Step >= step)
            {
                return;
            }
        }

        Assert.Fail($"the job ended before step {step}");
    }

    /// <summary>Of name@digest; two adapters with the same one are the same bits.</summary>
    public static string Digest(string adapter) => adapter.Split('@')[1];
}
