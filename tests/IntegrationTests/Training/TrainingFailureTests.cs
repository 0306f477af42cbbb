using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Jobs that cannot be done: the error names file, line, field, value and limit, and nothing is left behind or lost.</summary>
[Trait("Category", "Training")]
public sealed class TrainingFailureTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    private const string Good = """{"prompt": "a", "completion": "b"}""";

    public static TheoryData<string, string[]> BadData => new()
    {
        { $"{Good}\n{{\"prompt\": \"a\", \"comp\n{Good}", ["facts.jsonl, line 2", "broken JSON at byte "] },
        { "", ["facts.jsonl", "the set is empty"] },
        { "\n  \n", ["facts.jsonl", "the set is empty"] },
        { $"{Good}\n{Good}\n{{\"prompt\": \"a\", \"completion\": \"{new string('x', 80)}\"}}", ["line 3", "'completion'", "MaxSampleTokens 64"] },
        { "{\"prompt\": 5, \"completion\": \"b\"}", ["line 1", "'prompt'", "expected text, found a number"] },
        { "{\"prompt\": \"a\"}", ["line 1", "'completion'", "missing"] },
        { "{\"question\": \"a\", \"answer\": \"b\"}", ["line 1", "none of the fields prompt and completion, messages, text"] },
        { "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}", ["line 1", "'messages[0].content'", "expected text, found a number"] },
        { "[1, 2]", ["line 1", "expected a JSON object, found an array"] },
        { Good, ["data.held_out_share", "leaves none of 1 samples to learn"] },
    };

    [Theory]
    [MemberData(nameof(BadData))]
    public async Task Bad_data_is_refused_with_file_line_and_field_and_leaves_nothing(string data, string[] named)
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingSpec spec = JobSpecs.Plain("pupil");
        spec.Data.Name = "facts.jsonl";
        spec.Data.LongSamples = "refuse";

        InferenceException error =
            await Assert.ThrowsAsync<InferenceException>(() => server.Client.Training.StartAsync(spec, JobSpecs.Bytes(data)));

        Assert.Equal(StatusCode.InvalidArgument, error.Status);
        Assert.All(named, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(server.DataFolder, "training")));
        Assert.Empty(await server.Client.Training.ListAsync().ToListAsync());
    }

    public static TheoryData<string, string[]> BadSpecs => new()
    {
        { "no name", ["adapter name"] },
        { "learning rate", ["optimizer.learning_rate", "-1"] },
        { "schedule", ["optimizer.schedule", "'zigzag'", "cosine, constant, linear"] },
        { "warm-up", ["optimizer.warm_up_steps", "31", "run.steps 30"] },
        { "batch", ["data.max_sample_tokens", "64", "run.max_batch_tokens 32"] },
        { "patience", ["evaluation.patience", "2", "held_out_share"] },
        { "every weight with LoRA+", ["optimizer.kind", "adamw"] },
        { "LoRA-FA of DoRA", ["optimizer.kind", "plain LoRA"] },
        { "weights", ["base_weights", "'int3'"] },
        { "publish", ["publish.mode", "'later'"] },
        { "config no JSON", ["adapter_config.json", "valid JSON"] },
        { "rank", ["adapter_config.json", "'r'", "MaxRank 512"] },
        { "targets", ["adapter_config.json", "target_modules", "no module"] },
        { "positions", ["data.max_sample_tokens", "1000", "512"] },
    };

    [Theory]
    [MemberData(nameof(BadSpecs))]
    public async Task A_spec_that_makes_no_sense_is_refused_by_field_value_and_limit(string mistake, string[] named)
    {
        await using RunningServer server = await tiny.ServeAsync();

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            () => server.Client.Training.StartAsync(Wrong(mistake), JobSpecs.Data()));

        Assert.Equal(StatusCode.InvalidArgument, error.Status);
        Assert.All(named, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(server.DataFolder, "training")));
    }

    [Fact]
    public async Task A_loss_that_is_no_number_fails_the_job_and_keeps_its_checkpoints()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingSpec spec = JobSpecs.Plain("pupil", steps: 50, checkpointEvery: 1);
        spec.Optimizer = new OptimizerSettings { LearningRate = 1e30, Schedule = "constant" };

        TrainingJob job = await Jobs.EndAsync(server.Client.Training, (await server.Client.Training.StartAsync(spec, JobSpecs.Data())).Id);

        Assert.Equal(TrainingState.Failed, job.State);
        Assert.Contains("step 2", job.Error, StringComparison.Ordinal);
        Assert.Contains("the last good checkpoint is 'run/checkpoints/", job.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(server.DataFolder, job.Error, StringComparison.Ordinal);
        List<TrainingEvent> events = await server.Client.Training.WatchAsync(job.Id).ToListAsync();
        Assert.Equal(job.Error, events[^2].Error);
        Assert.Equal(TrainingState.Failed, events[^1].State);
        string kept = Assert.Single(events, happened => happened.Checkpoint is not null).Checkpoint.Name;
        Assert.True(Directory.Exists(Path.Combine(server.DataFolder, "training", job.Id, "run", "checkpoints", kept)));
    }

    [Fact]
    public async Task A_data_set_above_the_limit_and_a_full_queue_are_refused()
    {
        await using RunningServer server = await tiny.ServeAsync("--max-training-data", "3KiB", "--max-training-jobs", "1");
        TrainingClient training = server.Client.Training;

        InferenceException large = await Assert.ThrowsAsync<InferenceException>(
            () => training.StartAsync(JobSpecs.Plain("large"), JobSpecs.Data(200)));
        TrainingJob running = await training.StartAsync(JobSpecs.Plain("running", steps: 100_000), JobSpecs.Data());
        InferenceException full = await Assert.ThrowsAsync<InferenceException>(
            () => training.StartAsync(JobSpecs.Plain("second"), JobSpecs.Data()));
        await training.CancelAsync(running.Id);

        Assert.Equal((StatusCode.ResourceExhausted, StatusCode.ResourceExhausted), (large.Status, full.Status));
        Assert.Contains("the limit is 3072", large.Message, StringComparison.Ordinal);
        Assert.Contains("the limit is 1", full.Message, StringComparison.Ordinal);
        Assert.Single(Directory.GetFileSystemEntries(Path.Combine(server.DataFolder, "training")));
    }

    [Fact]
    public async Task What_a_job_s_state_does_not_allow_is_refused_and_a_deleted_job_is_gone()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingClient training = server.Client.Training;
        string id = (await training.StartAsync(JobSpecs.Plain("pupil", steps: 100_000), JobSpecs.Data())).Id;

        await RefusedAsync(StatusCode.FailedPrecondition, () => training.ResumeAsync(id));
        await RefusedAsync(StatusCode.FailedPrecondition, () => training.DeleteAsync(id));
        await training.CancelAsync(id);
        await RefusedAsync(StatusCode.FailedPrecondition, () => training.CancelAsync(id));
        DeleteTrainingJobResponse deleted = await training.DeleteAsync(id);

        Assert.True(deleted.FreedBytes > 0);
        await RefusedAsync(StatusCode.NotFound, () => training.GetAsync(id));
        await RefusedAsync(StatusCode.NotFound, () => training.GetAsync("../" + id));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(server.DataFolder, "training")));
    }

    [Fact]
    public async Task Training_can_be_turned_off()
    {
        await using RunningServer server = await tiny.ServeAsync("--training", "false");

        await RefusedAsync(
            StatusCode.FailedPrecondition, () => server.Client.Training.StartAsync(JobSpecs.Plain("pupil"), JobSpecs.Data()));

        Assert.Empty(await server.Client.Training.ListAsync().ToListAsync());
    }

    private static async Task RefusedAsync<T>(StatusCode expected, Func<Task<T>> call) =>
        Assert.Equal(expected, (await Assert.ThrowsAsync<InferenceException>(call)).Status);

    private static TrainingSpec Wrong(string mistake)
    {
        TrainingSpec spec = JobSpecs.Plain("pupil");
        switch (mistake)
        {
            case "no name":
                spec.Adapter = "";
                break;
            case "learning rate":
                spec.Optimizer.LearningRate = -1;
                break;
            case "schedule":
                spec.Optimizer.Schedule = "zigzag";
                break;
            case "warm-up":
                spec.Optimizer.WarmUpSteps = 31;
                break;
            case "batch":
                spec.Run.MaxBatchTokens = 32;
                break;
            case "patience":
                spec.Data.HeldOutShare = 0;
                spec.Evaluation = new EvaluationSettings { Patience = 2 };
                break;
            case "every weight with LoRA+":
                spec.AdapterConfig = "";
                spec.Optimizer.Kind = "lora_plus";
                break;
            case "LoRA-FA of DoRA":
                spec.AdapterConfig = """{"peft_type": "LORA", "use_dora": true, "target_modules": ["q_proj"]}""";
                spec.Optimizer.Kind = "lora_fa";
                break;
            case "weights":
                spec.BaseWeights = "int3";
                break;
            case "publish":
                spec.Publish = new PublishSettings { Mode = "later" };
                break;
            case "config no JSON":
                spec.AdapterConfig = "{";
                break;
            case "rank":
                spec.AdapterConfig = """{"peft_type": "LORA", "r": 513, "target_modules": ["q_proj"]}""";
                break;
            case "targets":
                spec.AdapterConfig = """{"peft_type": "LORA", "target_modules": ["query"]}""";
                break;
            default:
                spec.Data.MaxSampleTokens = 1000;
                spec.Run.MaxBatchTokens = 2000;
                break;
        }

        return spec;
    }
}
