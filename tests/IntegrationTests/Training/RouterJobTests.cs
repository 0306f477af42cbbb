using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>A router trained over adapters that the server has.</summary>
[Trait("Category", "Training")]
public sealed class RouterJobTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    [Fact]
    public async Task A_router_over_published_adapters_is_trained_published_and_served()
    {
        await using RunningServer server = await tiny.ServeAsync();
        await TrainSourcesAsync(server.Client.Training);

        TrainingSpec spec = Spec("both");
        string published = await Jobs.FinishAsync(server.Client.Training, (await server.Client.Training.StartAsync(spec, JobSpecs.Data())).Id);

        AdapterInfo adapter = await server.Client.Adapters.GetAsync("both");
        Assert.Equal($"both@{adapter.Digest}", published);
        Assert.Equal(("ROUTED_LORA", 8), (adapter.PeftType, adapter.MaxRank));
        IReadOnlyList<int>[] answers = await Task.WhenAll(new string?[] { null, "left", "right", "both" }
            .Select(async name => (await server.Client.GenerateTextAsync("say 3c:", name is null ? Generate.Greedy() : Generate.Greedy(name))).TokenIds));
        Assert.NotEqual(answers[0], answers[3]);
        InferenceException merge = await Assert.ThrowsAsync<InferenceException>(() => server.Client.Adapters.MergeAsync("both"));
        Assert.Equal(StatusCode.FailedPrecondition, merge.Status);
        Assert.Contains("it is routed", merge.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_resumed_router_goes_on_with_the_versions_it_began_with()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingClient training = server.Client.Training;
        await TrainSourcesAsync(training);
        string whole = await Jobs.FinishAsync(training, (await training.StartAsync(Spec("whole", 60), JobSpecs.Data())).Id);

        TrainingJob parted = await training.StartAsync(Spec("parted", 60), JobSpecs.Data());
        await Jobs.ReachAsync(training, parted.Id, 10);
        await training.CancelAsync(parted.Id);
        await Jobs.FinishAsync(training, (await training.StartAsync(JobSpecs.Plain("left", 5), JobSpecs.Data(suffix: "..."))).Id);
        await training.ResumeAsync(parted.Id);

        Assert.Equal(Jobs.Digest(whole), Jobs.Digest(await Jobs.FinishAsync(training, parted.Id)));
    }

    [Fact]
    public async Task A_router_over_an_adapter_that_is_not_there_is_refused_at_once_by_name()
    {
        await using RunningServer server = await tiny.ServeAsync();

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            () => server.Client.Training.StartAsync(Spec("both"), JobSpecs.Data()));

        Assert.Equal(StatusCode.InvalidArgument, error.Status);
        Assert.Contains("'left'", error.Message, StringComparison.Ordinal);
    }

    private static TrainingSpec Spec(string name, int steps = 20)
    {
        TrainingSpec spec = JobSpecs.Plain(name, steps);
        TrainingMethods.TryGet("router", out TrainingMethod? router);
        router!.ApplyTo(spec, new AdapterSettings { Over = ["left", "right"] });
        return spec;
    }

    private static async Task TrainSourcesAsync(TrainingClient training)
    {
        await Jobs.FinishAsync(training, (await training.StartAsync(JobSpecs.Plain("left", 15), JobSpecs.Data())).Id);
        await Jobs.FinishAsync(training, (await training.StartAsync(JobSpecs.Plain("right", 15), JobSpecs.Data(suffix: "?"))).Id);
    }
}
