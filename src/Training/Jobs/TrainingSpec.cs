using InferenceServer.AdapterStore;
using InferenceServer.Tensors;

namespace InferenceServer.Training.Jobs;

/// <summary>What a job is asked to do, every default filled in, so that a later version with other defaults goes on with the same job.</summary>
public sealed record TrainingSpec
{
    /// <summary>Name of the adapter (or of the fully fine-tuned model).</summary>
    public required string Adapter { get; init; }

    /// <summary>An adapter_config.json with PEFT's names; empty trains every weight.</summary>
    public string AdapterConfig { get; init; } = "";

    public OptimizerSpec Optimizer { get; init; } = new();

    public DataSpec Data { get; init; } = new();

    public RunSpec Run { get; init; } = new();

    public EvaluationSpec Evaluation { get; init; } = new();

    public PublishSpec Publish { get; init; } = new();

    /// <summary>How the frozen base is kept for this job; null for as it is served.</summary>
    public WeightFormat? BaseWeights { get; init; }

    /// <summary>Checks what can be checked without data and model.</summary>
    /// <exception cref="TrainingSpecException">A field is out of its range; it is named.</exception>
    /// <exception cref="AdapterFormatException">The name may not be used.</exception>
    public void Check()
    {
        AdapterName.Check(Adapter);
        Optimizer.Check();
        Data.Check();
        Run.Check();
        Evaluation.Check();
        if (Data.MaxSampleTokens > Run.MaxBatchTokens)
        {
            throw new TrainingSpecException(
                "data.max_sample_tokens", $"{Data.MaxSampleTokens} exceeds run.max_batch_tokens {Run.MaxBatchTokens}: such a sample fits into no batch");
        }

        if (Run.Steps > 0 && Optimizer.WarmUpSteps > Run.Steps)
        {
            throw new TrainingSpecException("optimizer.warm_up_steps", $"{Optimizer.WarmUpSteps} exceeds run.steps {Run.Steps}");
        }

        if (Evaluation.Patience > 0 && (Data.HeldOutShare == 0 || Evaluation.Every < 0))
        {
            throw new TrainingSpecException(
                "evaluation.patience", $"{Evaluation.Patience} needs data.held_out_share above 0 and evaluation.every of at least 0");
        }

        if (Evaluation.ExactMatchSamples != 0 && Data.HeldOutShare == 0)
        {
            throw new TrainingSpecException(
                "evaluation.exact_match_samples", $"{Evaluation.ExactMatchSamples} needs data.held_out_share above 0");
        }

        if (AdapterConfig.Length == 0 && Optimizer.Kind != Optimisation.OptimizerKind.AdamW)
        {
            throw new TrainingSpecException("optimizer.kind", "has to be adamw when every weight is trained");
        }

        if (Publish.Which == AdapterChoice.Best && (Data.HeldOutShare == 0 || AdapterConfig.Length == 0))
        {
            throw new TrainingSpecException("publish.which", "best needs an adapter and data.held_out_share above 0");
        }
    }
}
