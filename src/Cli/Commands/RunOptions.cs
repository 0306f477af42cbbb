using System.CommandLine;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary>The options of a training run that <c>train</c> and <c>compare</c> share: what they say goes over what a spec says.</summary>
internal sealed class RunOptions
{
    private readonly Option<string?> _schedule =
        OneOf("--schedule", "Shape of the learning rate: constant, linear or cosine (default).", "constant", "linear", "cosine");

    private readonly Option<int?> _warmUp = new("--warm-up") { Description = "Steps in which the rate rises." };
    private readonly Option<double?> _weightDecay = new("--weight-decay") { Description = "Decoupled; default 0.01." };
    private readonly Option<double?> _clip = new("--max-gradient-norm") { Description = "Longest gradient; 0 for any; default 1." };
    private readonly Option<int?> _steps = new("--steps") { Description = "Steps of the run." };
    private readonly Option<double?> _epochs = new("--epochs") { Description = "Times through the data, in place of --steps; default 3." };
    private readonly Option<int?> _batchTokens = new("--batch-tokens") { Description = "Most tokens of a micro-batch; default 1024." };
    private readonly Option<int?> _microBatches = new("--micro-batches") { Description = "Micro-batches to a step; default 1." };
    private readonly Option<int?> _checkpointEvery = new("--checkpoint-every") { Description = "Steps between checkpoints; default 100." };
    private readonly Option<bool> _recompute =
        new("--gradient-checkpointing") { Description = "Compute activations again on the way back: less memory, more time." };

    private readonly Option<double?> _heldOut = new("--held-out") { Description = "Share of the samples to judge by; default 0.05." };
    private readonly Option<int?> _sampleTokens = new("--max-sample-tokens") { Description = "Longest sample; default 512." };
    private readonly Option<string?> _longSamples =
        OneOf("--long-samples", "What becomes of longer ones: truncate (default), drop or refuse.", "truncate", "drop", "refuse");

    private readonly Option<int?> _seed = new("--seed") { Description = "Of the split, the order, the start values and dropout." };
    private readonly Option<int?> _evaluateEvery =
        new("--evaluate-every") { Description = "Steps between held-out losses; -1 for the end only; default ten in a run." };

    private readonly Option<int?> _patience = new("--patience") { Description = "End after so many evaluations without a lower loss." };
    private readonly Option<int?> _exactMatch =
        new("--exact-match") { Description = "Held-out prompts to answer at the end and compare; -1 for all; default none." };

    private readonly Option<int?> _exactMatchTokens = new("--exact-match-tokens") { Description = "Longest answer; default 64." };

    /// <summary>An option that takes one of a few words.</summary>
    public static Option<string?> OneOf(string name, string description, params string[] words)
    {
        Option<string?> option = new(name) { Description = description, HelpName = "word" };
        option.AcceptOnlyFromAmong(words);
        return option;
    }

    public void AddTo(Command command)
    {
        Option[] all =
        [
            _steps, _epochs, _batchTokens, _microBatches, _schedule, _warmUp, _weightDecay, _clip, _checkpointEvery, _recompute,
            _heldOut, _sampleTokens, _longSamples, _seed, _evaluateEvery, _patience, _exactMatch, _exactMatchTokens,
        ];
        foreach (Option option in all)
        {
            command.Add(option);
        }
    }

    public void WriteTo(TrainingSpec spec, ParseResult parsed)
    {
        spec.Optimizer ??= new OptimizerSettings();
        spec.Data ??= new DataSettings();
        spec.Run ??= new RunSettings();
        spec.Evaluation ??= new EvaluationSettings();
        SetText(_schedule, value => spec.Optimizer.Schedule = value);
        Set(_warmUp, value => spec.Optimizer.WarmUpSteps = value);
        Set(_weightDecay, value => spec.Optimizer.WeightDecay = value);
        Set(_clip, value => spec.Optimizer.MaxGradientNorm = value);
        Set(_heldOut, value => spec.Data.HeldOutShare = value);
        Set(_sampleTokens, value => spec.Data.MaxSampleTokens = value);
        SetText(_longSamples, value => spec.Data.LongSamples = value);
        Set(_seed, value => (spec.Data.Seed, spec.Run.Seed) = (value, value));
        Set(_steps, value => (spec.Run.Steps, spec.Run.Epochs) = (value, 0));
        Set(_epochs, value => (spec.Run.Epochs, spec.Run.Steps) = (value, 0));
        Set(_batchTokens, value => spec.Run.MaxBatchTokens = value);
        Set(_microBatches, value => spec.Run.MicroBatches = value);
        Set(_checkpointEvery, value => spec.Run.CheckpointEvery = value);
        Set(_evaluateEvery, value => spec.Evaluation.Every = value);
        Set(_patience, value => spec.Evaluation.Patience = value);
        Set(_exactMatch, value => spec.Evaluation.ExactMatchSamples = value);
        Set(_exactMatchTokens, value => spec.Evaluation.ExactMatchTokens = value);
        spec.Run.GradientCheckpointing |= parsed.GetValue(_recompute);
        if (parsed.GetValue(_steps) is not null && parsed.GetValue(_epochs) is not null)
        {
            throw new UsageException("--steps and --epochs both say how long the run is; give one of them");
        }

        void Set<T>(Option<T?> option, Action<T> set)
            where T : struct
        {
            if (parsed.GetValue(option) is { } value)
            {
                set(value);
            }
        }

        void SetText(Option<string?> option, Action<string> set)
        {
            if (parsed.GetValue(option) is { } value)
            {
                set(value);
            }
        }
    }
}
