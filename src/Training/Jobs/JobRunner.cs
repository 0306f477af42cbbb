using System.Text.Json.Nodes;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Models;
using InferenceServer.Tensors;
using InferenceServer.Training.Checkpoints;
using InferenceServer.Training.Data;
using InferenceServer.Training.Evaluation;
using InferenceServer.Training.Export;
using InferenceServer.Training.Optimisation;
using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>Does a job from where it stands to the finished adapter or model in its folder; publishing is another's. One thread at a time.</summary>
public sealed class JobRunner
{
    private const int LeastWarmUpBatches = 8;
    private const string ChosenName = "chosen_adapter_config.json";
    private const string WeightsName = "model.safetensors";

    private readonly StoredJob _job;
    private readonly AdapterCatalog _catalog;
    private readonly Action<TrainingEvent> _tell;
    private readonly Func<TimeSpan> _waited;
    private readonly StoreFiles _files;
    private JobPlan? _plan;

    /// <param name="job">The job.</param>
    /// <param name="catalog">Where the adapters of a router are.</param>
    /// <param name="tell">Told of each event once it is in the job's log, on the same thread.</param>
    /// <param name="waited">How long in all the backend has waited for others, which is no time of training.</param>
    public JobRunner(StoredJob job, AdapterCatalog catalog, Action<TrainingEvent> tell, Func<TimeSpan> waited)
        : this(job, catalog, tell, waited, new StoreFiles())
    {
    }

    internal JobRunner(StoredJob job, AdapterCatalog catalog, Action<TrainingEvent> tell, Func<TimeSpan> waited, StoreFiles files)
    {
        _job = job;
        _catalog = catalog;
        _tell = tell;
        _waited = waited;
        _files = files;
    }

    /// <summary>Whether answers are still to be compared once the run is done.</summary>
    public bool NeedsJudging => _job.Spec.Evaluation.ExactMatchSamples != 0 && _job.Current.ExactMatch is null;

    /// <summary>Trains to the end, or until it is asked to stop; blocks meanwhile. Done at once when the run is done already.</summary>
    /// <param name="model">The base, in the format that the job asks for; may serve meanwhile through another backend.</param>
    /// <param name="backend">For this job alone.</param>
    /// <param name="operations">The backend's training half.</param>
    /// <param name="cancellation">Asks to stop after the step at hand.</param>
    /// <returns>Whether the run is done.</returns>
    /// <exception cref="TrainingFailedException">A loss, a gradient or a parameter is not finite; names the last good checkpoint.</exception>
    /// <exception cref="CheckpointException">A checkpoint cannot be written, or is of another base.</exception>
    /// <exception cref="TrainingSpecException">The job does not go with this base any more.</exception>
    /// <exception cref="IOException">The disk fails; the checkpoints are still there.</exception>
    public bool Train(LanguageModel model, IComputeBackend backend, ITrainingBackend operations, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (_job.Current.Finished is not null)
        {
            return true;
        }

        JobPlan plan = _plan ??= JobPlan.Create(_job.Spec, _job.DataPath, model);
        AdapterRecipe? recipe = plan.Recipe switch
        {
            { LoraDrop: not null } dropping => ChooseModules(dropping, plan, model, backend, operations),
            { RoutedAdapters.Count: > 0 } routing => RouterSources.Load(routing, _job, _catalog, _files),
            AdapterRecipe whole => whole,
            null => null,
        };
        using Trainer trainer = recipe is null
            ? Trainer.ForAllWeights(model.Transformer, backend, operations, plan.Options)
            : Trainer.ForAdapter(model.Transformer, backend, operations, recipe, plan.Options);
        JobCosts known = _job.Current.Costs with { BaseBytes = model.Transformer.WeightBytes };
        _job.Change(job => job with { Costs = known });
        TrainingRun run = new(trainer, plan.Train, plan.HeldOut, plan.Run, _job.RunFolder, clock: null, _files);
        RunResult result = run.Run(Tell(), cancellation);
        if (result.Outcome == RunOutcome.Cancelled)
        {
            return false;
        }

        string? adapter = _job.Spec.Publish.Which == AdapterChoice.Last ? result.LastAdapter : result.BestAdapter ?? result.LastAdapter;
        string weights = adapter is null ? ExportModel(trainer, model) : Path.Combine(adapter, PeftImporter.WeightsFileName);
        JobCosts costs = _job.Current.Costs with
        {
            AdapterBytes = new FileInfo(weights).Length,
        };
        FinishedRun finished = new(result.Outcome, adapter is null ? null : Path.GetFileName(adapter));
        _job.Change(job => job with { Finished = finished, Costs = costs });
        return true;
    }

    /// <summary>Answers held-out prompts with what the run left and compares.</summary>
    /// <param name="model">The base, as the job trained on it; of a full fine-tuning the trained model.</param>
    /// <param name="backend">For this job alone.</param>
    /// <param name="cancellation">Stops between two steps.</param>
    /// <exception cref="OperationCanceledException">It was asked to stop.</exception>
    public void Judge(LanguageModel model, IComputeBackend backend, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(model);
        EvaluationSpec wanted = _job.Spec.Evaluation;
        JobPlan plan = _plan ??= JobPlan.Create(_job.Spec, _job.DataPath, model);
        ExactMatchOptions options = new()
        {
            MaxQuestions = wanted.ExactMatchSamples < 0 ? null : wanted.ExactMatchSamples,
            MaxTokens = wanted.ExactMatchTokens,
        };
        ExactMatchResult result = ExactMatch.OfFolder(model, backend, _job.AdapterFolder, plan.HeldOut.Questions, options, cancellation);
        ExactMatchMeasured measured = new(result.Right, result.Total) { Time = _job.Now, Step = _job.Current.Step };
        _job.Change(job => job with { ExactMatch = measured }, measured);
        _tell(measured);
    }

    private Action<TrainingEvent> Tell()
    {
        TimeSpan waited = _waited();
        return happened =>
        {
            switch (happened)
            {
                case RunEnded or RunFailed:
                    // The job has states of its own, and says itself why it fails.
                    return;
                case StepDone step:
                    TimeSpan now = _waited();
                    happened = step with { Seconds = Math.Max(0, step.Seconds - (now - waited).TotalSeconds) };
                    waited = now;
                    break;
            }

            _job.Append(happened);
            _tell(happened);
        };
    }

    /// <summary>LoRA-drop's warm-up, once in a job's life.</summary>
    private AdapterRecipe ChooseModules(
        AdapterRecipe recipe, JobPlan plan, LanguageModel model, IComputeBackend backend, ITrainingBackend operations)
    {
        string path = Path.Combine(_job.Folder, ChosenName);
        if (File.Exists(path))
        {
            return AdapterRecipe.Parse(File.ReadAllBytes(path));
        }

        BatchSource source = new(plan.Train, plan.Options.MaxBatchTokens, plan.Options.MaxSequences, plan.Run.DataSeed);
        SupervisedBatch[] sample = [.. source.Batches.Take(Math.Max(LeastWarmUpBatches, source.EpochBatches / 10))];
        TrainingOptions options = plan.Options with { Schedule = ScheduleKind.Constant, WarmUpSteps = 0 };
        AdapterRecipe chosen =
            LoraDropWarmUp.Choose(model.Transformer, backend, operations, recipe, options, sample).Recipe;
        JsonObject json = chosen.CopyJson();
        string aside = path + ".writing";
        _files.DeleteTree(aside);
        _files.WriteFile(aside, System.Text.Encoding.UTF8.GetBytes(json.ToJsonString()));
        _files.ReplaceFile(aside, path);
        _files.SyncDirectory(_job.Folder);
        return chosen;
    }

    /// <summary>Whole and durable, or not at all.</summary>
    /// <returns>The file of the weights.</returns>
    private string ExportModel(Trainer trainer, LanguageModel model)
    {
        string aside = Path.Combine(_job.Folder, ".writing-model");
        _files.DeleteTree(aside);
        ModelExporter.Write(trainer, model.Transformer, model.Folder, aside);
        DurableFolder.Publish(_files, aside, _job.ModelFolder);
        return Path.Combine(_job.ModelFolder, WeightsName);
    }
}
