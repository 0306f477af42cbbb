using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Training jobs over gRPC, from the first byte of data to the served adapter.</summary>
[Trait("Category", "Training")]
public sealed class TrainingServiceTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    [Fact]
    public async Task A_job_trains_and_its_adapter_is_served_at_once()
    {
        await using RunningServer server = await tiny.ServeAsync();
        IReadOnlyList<int> untrained = (await server.Client.GenerateTextAsync("say 3c:", Generate.Greedy())).TokenIds;

        TrainingJob started = await server.Client.Training.StartAsync(JobSpecs.Plain("pupil"), JobSpecs.Data());
        List<TrainingEvent> events = await server.Client.Training.WatchAsync(started.Id).ToListAsync();
        TrainingJob job = await server.Client.Training.GetAsync(started.Id);

        Assert.Equal(TrainingState.Completed, job.State);
        Assert.Equal((30, 30), (job.Step, job.TotalSteps));
        AdapterInfo adapter = await server.Client.Adapters.GetAsync("pupil");
        Assert.Equal($"pupil@{adapter.Digest}", job.PublishedAdapter);
        Assert.NotEqual(untrained, (await server.Client.GenerateTextAsync("say 3c:", Generate.Greedy("pupil"))).TokenIds);
        Assert.Equal(Enumerable.Range(1, events.Count).Select(number => (long)number), events.Select(happened => happened.Number));
        Assert.Equal(job.LastEvent, events[^1].Number);
        Assert.Equal(
            [TrainingState.Queued, TrainingState.Running, TrainingState.Completed],
            events.Where(happened => happened.HappenedCase == TrainingEvent.HappenedOneofCase.State).Select(happened => happened.State));
        Assert.Equal(Enumerable.Range(1, 30), events.Where(happened => happened.StepDone is not null).Select(happened => happened.Step));
        Assert.Equal(job.PublishedAdapter, Assert.Single(events, happened => happened.HasPublished).Published);
        Assert.True(job.BestLoss > 0 && job.BestStep > 0 && job.Loss > 0);
        Assert.True(job.Costs.TrainableParameters > 0 && job.Costs.AdapterBytes > 0 && job.Costs.TrainingSeconds > 0 && job.Costs.BaseBytes > 0);
    }

    [Fact]
    public async Task A_cancelled_job_resumes_to_the_very_adapter_of_one_that_was_not()
    {
        // So many that no machine is through with them before it is told to stop.
        const int Steps = 400;
        await using RunningServer server = await tiny.ServeAsync();
        TrainingClient training = server.Client.Training;
        string whole = await Jobs.FinishAsync(training, (await training.StartAsync(JobSpecs.Plain("whole", Steps), JobSpecs.Data())).Id);

        TrainingJob parted = await training.StartAsync(JobSpecs.Plain("parted", Steps), JobSpecs.Data());
        foreach (int step in (int[])[7, 20, 41])
        {
            await Jobs.ReachAsync(training, parted.Id, step);
            TrainingJob cancelled = await training.CancelAsync(parted.Id);
            Assert.Equal(TrainingState.Cancelled, cancelled.State);
            Assert.InRange(cancelled.Step, step, Steps - 1);
            await training.ResumeAsync(parted.Id);
        }

        Assert.Equal(Jobs.Digest(whole), Jobs.Digest(await Jobs.FinishAsync(training, parted.Id)));
    }

    [Theory]
    [InlineData("bf16")]
    [InlineData("nf4")]
    public async Task A_job_may_keep_its_base_in_another_format(string weights)
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingSpec spec = JobSpecs.Plain("pupil", 6);
        spec.BaseWeights = weights;
        spec.Run.GradientCheckpointing = true;

        TrainingJob job = await Jobs.EndAsync(server.Client.Training, (await server.Client.Training.StartAsync(spec, JobSpecs.Data())).Id);

        Assert.True(job.State == TrainingState.Completed, $"{job.State}: {job.Error}");
        ServerInfo info = await server.Client.GetInfoAsync();
        Assert.InRange(job.Costs.BaseBytes, 1, (info.Model.WeightBytes * 3 / 4) - 1);
        Assert.Equal((weights, true), (job.Spec.BaseWeights, job.Spec.Run.GradientCheckpointing));
        Assert.True(job.Costs.PeakBytes > 0);
    }

    [Fact]
    public async Task Full_fine_tuning_ends_with_a_model_and_publishes_nothing()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingSpec spec = JobSpecs.Plain("whole-model", 6);
        spec.AdapterConfig = "";
        spec.Evaluation = new EvaluationSettings { ExactMatchSamples = 3, ExactMatchTokens = 4 };

        TrainingJob job = await Jobs.EndAsync(server.Client.Training, (await server.Client.Training.StartAsync(spec, JobSpecs.Data())).Id);

        Assert.True(job.State == TrainingState.Completed, $"{job.State}: {job.Error}");
        Assert.Equal(("", 3), (job.PublishedAdapter, job.ExactMatch.Total));
        Assert.True(File.Exists(Path.Combine(server.DataFolder, "training", job.Id, "model", "model.safetensors")));
        Assert.Empty(await server.Client.Adapters.ListAsync().ToListAsync());
    }

    [Fact]
    public async Task Jobs_wait_in_the_order_of_their_start_and_one_runs_at_a_time()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingClient training = server.Client.Training;

        TrainingJob first = await training.StartAsync(JobSpecs.Plain("first", 100), JobSpecs.Data());
        TrainingJob second = await training.StartAsync(JobSpecs.Plain("second", 5), JobSpecs.Data());
        TrainingJob third = await training.StartAsync(JobSpecs.Plain("third", 5), JobSpecs.Data());

        Assert.Equal((1, 2), (second.QueuePosition, third.QueuePosition));
        TrainingJob left = await training.CancelAsync(second.Id);
        Assert.Equal(TrainingState.Cancelled, left.State);
        Assert.Equal(1, (await training.GetAsync(third.Id)).QueuePosition);
        await Jobs.FinishAsync(training, third.Id);
        TrainingJob one = await training.GetAsync(first.Id);
        TrainingJob other = await training.GetAsync(third.Id);
        Assert.Equal(TrainingState.Completed, one.State);
        Assert.True(one.EndedAt <= other.StartedAt);
        Assert.Equal([third.Id, second.Id, first.Id], await training.ListAsync().Select(job => job.Id).ToListAsync());
    }
}
