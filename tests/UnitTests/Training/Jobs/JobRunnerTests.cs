using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Models;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Jobs;
using InferenceServer.Training.Runs;
using InferenceServer.UnitTests.AdapterStore;
using Xunit;

namespace InferenceServer.UnitTests.Training.Jobs;

/// <summary>Jobs from their data to what they leave, of every kind and on a failing disk.</summary>
[Trait("Category", "Training")]
public sealed class JobRunnerTests(JobBench bench) : IClassFixture<JobBench>
{
    private const int Stride = 5;

    [Fact]
    public void A_disk_full_at_any_moment_fails_the_job_loses_no_checkpoint_and_changes_no_bit()
    {
        FailingFiles counting = new();
        StoredJob whole = bench.Start(bench.Open(bench.NewFolder(), counting));
        int before = counting.Steps;
        Assert.True(bench.Run(whole, counting));
        int moments = counting.Steps - before;
        int failed = 0;
        for (int moment = 0; moment < moments; moment += Stride)
        {
            string folder = bench.NewFolder();
            FailingFiles files = new() { StaysDown = true };
            StoredJob job = bench.Start(bench.Open(folder, files));
            files.FailAt = files.Steps + moment;
            CheckpointSaved? last = null;
            Exception? error = Record.Exception(() => bench.Run(job, files, happened => last = happened as CheckpointSaved ?? last));
            failed += error is IOException or CheckpointException ? 1 : 0;
            Assert.True(error is null or IOException or CheckpointException, $"{moment}: {error}");
            Assert.True(last is null || Directory.Exists(last.Folder), $"{moment}: the disk was full, and {last?.Folder} is gone");

            StoredJob next = bench.Open(folder).Get(job.Id);
            int resumedFrom = -1;
            Assert.True(bench.Run(next, tell: happened => resumedFrom = happened is RunStarted started ? started.Step : resumedFrom));

            Assert.True(JobBench.Weights(whole).AsSpan().SequenceEqual(JobBench.Weights(next)), $"other bits after a full disk at {moment}");
            Assert.True(resumedFrom < 0 || resumedFrom >= (last?.Step ?? 0), $"{moment}: went on from {resumedFrom}, saved was {last?.Step}");
        }

        Assert.True(failed > moments / Stride / 2, $"only {failed} of {moments / Stride} runs met the full disk");
    }

    [Theory]
    [InlineData("""{"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1, "target_modules": ["q_proj", "down_proj"]}""")]
    [InlineData("""{"peft_type": "LORA", "r": 2, "target_modules": "all-linear", "lora_drop_config": {"threshold": 0.6}}""")]
    [InlineData("""{"peft_type": "VERA", "r": 8, "target_modules": ["q_proj"]}""")]
    [InlineData("""{"peft_type": "LORA", "r": 2, "init_lora_weights": "pissa", "target_modules": ["q_proj"]}""")]
    public void A_job_of_any_method_stopped_and_resumed_ends_as_one_that_was_not(string config)
    {
        StoredJob whole = bench.Start(bench.Open(bench.NewFolder()), JobBench.Spec(config));
        Assert.True(bench.Run(whole));
        string folder = bench.NewFolder();
        StoredJob parted = bench.Start(bench.Open(folder), JobBench.Spec(config));
        using CancellationTokenSource stop = new();
        Assert.False(bench.Run(
            parted,
            tell: happened =>
            {
                if (happened is StepDone { Step: 3 })
                {
                    stop.Cancel();
                }
            },
            stop: stop.Token));

        StoredJob next = bench.Open(folder).Get(parted.Id);
        Assert.True(bench.Run(next));

        Assert.Equal(JobBench.Weights(whole), JobBench.Weights(next));
        Assert.Equal(whole.Current.BestLoss, next.Current.BestLoss);
        Assert.Equal(
            [1, 2, 3, 4, 5, 6], next.ReadEvents().Select(numbered => numbered.Happened).OfType<StepDone>().Select(step => step.Step));
    }

    [Fact]
    public void Costs_and_answers_are_told()
    {
        TrainingSpec spec = JobBench.Spec() with { Evaluation = new EvaluationSpec { ExactMatchSamples = -1, ExactMatchTokens = 4 } };
        StoredJob job = bench.Start(bench.Open(bench.NewFolder()), spec);

        Assert.True(bench.Run(job));

        JobCosts costs = job.Current.Costs;
        Assert.Equal(2 * ((16 + 16) + (24 + 16)), costs.TrainableParameters);
        Assert.Equal(JobBench.Weights(job).Length, costs.AdapterBytes);
        Assert.Equal(bench.Model.Transformer.WeightBytes, costs.BaseBytes);
        Assert.True(costs.PeakBytes > 0 && costs.TrainingSeconds > 0 && costs.Tokens > 0);
        Assert.Equal(4, job.Current.ExactMatch!.Total);
        Assert.Equal(job.Current.ExactMatch, job.ReadEvents().Last().Happened);
    }

    [Fact]
    public void Full_fine_tuning_leaves_a_model_that_loads()
    {
        TrainingSpec spec = JobBench.Spec(config: "");
        StoredJob job = bench.Start(bench.Open(bench.NewFolder()), spec);

        Assert.True(bench.Run(job));

        using LanguageModel trained = bench.Load(job.ModelFolder);
        Assert.Null(job.AdapterFolder);
        Assert.Equal(bench.Model.Transformer.ParameterCount, trained.Transformer.ParameterCount);
        Assert.NotEqual(JobPlan.Fingerprint(bench.Model.Transformer.Shape), JobPlan.Fingerprint(trained.Transformer.Shape));
        Assert.Equal(new FileInfo(Path.Combine(job.ModelFolder, "model.safetensors")).Length, job.Current.Costs.AdapterBytes);
    }

    [Fact]
    public void A_checkpoint_of_another_base_is_refused_by_name()
    {
        using JobBench other = new(seed: 2);
        StoredJob job = bench.Start(bench.Open(bench.NewFolder()));
        Assert.True(bench.Run(job));
        StoredJob again = bench.Start(bench.Open(bench.NewFolder()));
        Directory.Move(job.RunFolder, again.RunFolder);

        CheckpointException error = Assert.Throws<CheckpointException>(() => other.Run(again));

        Assert.Contains("was written with base ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_adapter_is_published_once_whatever_happens_after_the_catalog_has_it()
    {
        StoredJob job = bench.Start(bench.Open(bench.NewFolder()));
        Assert.True(bench.Run(job));
        using AdapterCatalog catalog = OpenCatalog(new StoreFiles());
        AdapterPublisher publisher = new(catalog);
        AdapterRecord published = publisher.Publish(job);
        StoredJob better = bench.Start(bench.Open(bench.NewFolder()), JobBench.Spec() with { Run = new RunSpec { Steps = 8, MaxBatchTokens = 48 } });
        Assert.True(bench.Run(better));
        AdapterRecord second = new AdapterPublisher(catalog).Publish(better);

        // As after a crash that kept the first job from writing that it is done.
        Assert.Equal(published.Digest, publisher.Publish(job).Digest);

        Assert.Equal(second.Digest, catalog.Get("pupil").Digest);
        Assert.Equal([published.Digest, second.Digest], catalog.Versions("pupil").Select(version => version.Digest));
    }

    [Fact]
    public void An_adapter_that_could_not_be_stored_is_published_at_the_next_try()
    {
        StoredJob job = bench.Start(bench.Open(bench.NewFolder()));
        Assert.True(bench.Run(job));
        FailingFiles files = new();
        using AdapterCatalog catalog = OpenCatalog(files);
        files.FailAt = files.Steps + 4;
        Assert.Throws<AdapterStorageException>(() => new AdapterPublisher(catalog).Publish(job));
        Assert.Empty(catalog.ListAll());

        AdapterRecord published = new AdapterPublisher(catalog).Publish(job);

        Assert.Equal(published.Id.ToString(), job.Current.Publishing!.Adapter);
        Assert.Equal(published.Digest, Assert.Single(catalog.ListAll()).Digest);
    }

    [Fact]
    public void The_same_adapter_trained_again_becomes_current_again()
    {
        using AdapterCatalog catalog = OpenCatalog(new StoreFiles());
        string first = PublishNew(JobBench.Spec());
        string other = PublishNew(JobBench.Spec() with { Run = new RunSpec { Steps = 8, MaxBatchTokens = 48 } });

        string again = PublishNew(JobBench.Spec());

        Assert.NotEqual(first, other);
        Assert.Equal(first, again);
        Assert.Equal(first, catalog.Get("pupil").Digest);

        string PublishNew(TrainingSpec spec)
        {
            StoredJob job = bench.Start(bench.Open(bench.NewFolder()), spec);
            Assert.True(bench.Run(job));
            return new AdapterPublisher(catalog).Publish(job).Digest;
        }
    }

    [Fact]
    public void A_staged_adapter_is_not_current()
    {
        StoredJob job = bench.Start(
            bench.Open(bench.NewFolder()), JobBench.Spec() with { Publish = new PublishSpec { Mode = PublishMode.Staged } });
        Assert.True(bench.Run(job));
        using AdapterCatalog catalog = OpenCatalog(new StoreFiles());

        new AdapterPublisher(catalog).Publish(job);

        Assert.Empty(catalog.List());
        Assert.Single(catalog.Versions("pupil"));
    }

    private AdapterCatalog OpenCatalog(StoreFiles files) =>
        new(new AdapterCatalogOptions { Root = bench.NewFolder() }, bench.Model.Transformer.Shape, TimeProvider.System, files);
}
