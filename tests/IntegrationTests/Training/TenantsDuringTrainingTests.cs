using System.Collections.Concurrent;
using InferenceServer.Protocol.V1;
using InferenceServer.TestKit.TinyModel;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Train, publish, generate, replace by a better version, roll back, while other tenants are served all along.</summary>
[Trait("Category", "Training")]
public sealed class TenantsDuringTrainingTests(TrainingBase tiny, ITestOutputHelper output) : IClassFixture<TrainingBase>
{
    private static readonly string[] s_prompts = ["say 3c:", "hello there", "a", "what is 12 and 30?"];

    [Fact]
    public async Task A_tenant_trains_replaces_and_rolls_back_and_nobody_else_notices()
    {
        await using RunningServer server = await tiny.ServeAsync("--keep-versions", "5");
        string[] tenants = ["", "north", "south", "west"];
        await UploadTenantsAsync(server, tenants[1..]);
        Dictionary<(string, string), IReadOnlyList<int>> before = [];
        foreach (string tenant in tenants)
        {
            foreach (string prompt in s_prompts)
            {
                before[(tenant, prompt)] = await AnswerAsync(server, tenant, prompt);
            }
        }

        Assert.Equal(tenants.Length, tenants.Select(tenant => string.Join(',', before[(tenant, s_prompts[1])])).Distinct().Count());
        ConcurrentQueue<string> altered = [];
        int answers = 0;
        using CancellationTokenSource done = new();
        Task[] others = [.. tenants.Select(tenant => ServeAsync(tenant))];

        // One version after the other, the second trained for longer.
        string first = await TrainAsync(server, steps: 15);
        IReadOnlyList<int> answerOfFirst = await AnswerAsync(server, "pupil", "say 3c:");
        string second = await TrainAsync(server, steps: 80);
        IReadOnlyList<int> answerOfSecond = await AnswerAsync(server, "pupil", "say 3c:");
        Assert.Equal(answerOfFirst, await AnswerAsync(server, first, "say 3c:"));
        await server.Client.Adapters.ActivateAsync(first);
        Assert.Equal(answerOfFirst, await AnswerAsync(server, "pupil", "say 3c:"));
        Assert.Equal(answerOfSecond, await AnswerAsync(server, second, "say 3c:"));
        await done.CancelAsync();
        await Task.WhenAll(others);

        Assert.NotEqual(answerOfFirst, answerOfSecond);
        Assert.Empty(altered);
        List<TrainingJob> jobs = await server.Client.Training.ListAsync().ToListAsync();
        Assert.True(jobs[0].BestLoss < jobs[1].BestLoss, $"{jobs[0].BestLoss} after 80 steps, {jobs[1].BestLoss} after 15");
        Assert.True(answers > tenants.Length * s_prompts.Length, $"only {answers} answers were given meanwhile: the test hardly tests");
        output.WriteLine($"{answers} answers of {tenants.Length} tenants meanwhile, none failed or altered");

        async Task ServeAsync(string tenant)
        {
            for (int i = 0; !done.IsCancellationRequested; i++)
            {
                string prompt = s_prompts[i % s_prompts.Length];
                IReadOnlyList<int> answer = await AnswerAsync(server, tenant, prompt);
                Interlocked.Increment(ref answers);
                if (!answer.SequenceEqual(before[(tenant, prompt)]))
                {
                    altered.Enqueue($"'{tenant}' to '{prompt}': {string.Join(',', answer)}");
                }
            }
        }
    }

    private static async Task<string> TrainAsync(RunningServer server, int steps)
    {
        TrainingSpec spec = JobSpecs.Plain("pupil", steps);
        spec.Publish = new PublishSettings { Load = true };
        TrainingJob job = await server.Client.Training.StartAsync(spec, JobSpecs.Data());
        return await Jobs.FinishAsync(server.Client.Training, job.Id);
    }

    private static async Task<IReadOnlyList<int>> AnswerAsync(RunningServer server, string adapter, string prompt) =>
        (await server.Client.GenerateTextAsync(prompt, Generate.Greedy(adapter))).TokenIds;

    private async Task UploadTenantsAsync(RunningServer server, string[] names)
    {
        using TemporaryFolder folder = new();
        for (int i = 0; i < names.Length; i++)
        {
            string path = Path.Combine(folder.Path, names[i]);
            new TinyLora { Seed = i + 10, Rank = 2 << i, Strength = 2 }.Write(path, tiny.Model);
            await server.Client.Adapters.UploadFolderAsync(names[i], path);
        }
    }
}
