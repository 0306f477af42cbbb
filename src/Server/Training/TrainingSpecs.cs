using System.Globalization;
using InferenceServer.Engine.Errors;
using InferenceServer.Tensors;
using InferenceServer.Training.Data;
using InferenceServer.Training.Jobs;
using InferenceServer.Training.Optimisation;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Training;

/// <summary>A job's spec from the protocol, with every default filled in, and back.</summary>
internal static class TrainingSpecs
{
    private static readonly Choice<OptimizerKind> s_optimizers =
        new(("adamw", OptimizerKind.AdamW), ("lora_plus", OptimizerKind.LoraPlus), ("lora_fa", OptimizerKind.LoraFa));

    private static readonly Choice<ScheduleKind> s_schedules =
        new(("cosine", ScheduleKind.Cosine), ("constant", ScheduleKind.Constant), ("linear", ScheduleKind.Linear));

    private static readonly Choice<LongSamplePolicy> s_longSamples =
        new(("truncate", LongSamplePolicy.Truncate), ("drop", LongSamplePolicy.Drop), ("refuse", LongSamplePolicy.Reject));

    private static readonly Choice<PublishMode> s_modes =
        new(("current", PublishMode.Current), ("staged", PublishMode.Staged), ("none", PublishMode.None));

    private static readonly Choice<AdapterChoice?> s_which =
        new(("", null), ("best", AdapterChoice.Best), ("last", AdapterChoice.Last));

    private static readonly Choice<WeightFormat?> s_weights = new(
        [("", null), .. Enum.GetValues<WeightFormat>().Select(format => (format.ToString().ToLowerInvariant(), (WeightFormat?)format))]);

    /// <exception cref="InvalidRequestException">A word is not one of the field's.</exception>
    public static TrainingSpec Read(V1.TrainingSpec spec)
    {
        V1.OptimizerSettings optimizer = spec.Optimizer ?? new V1.OptimizerSettings();
        V1.RunSettings run = spec.Run ?? new V1.RunSettings();
        V1.EvaluationSettings evaluation = spec.Evaluation ?? new V1.EvaluationSettings();
        V1.PublishSettings publish = spec.Publish ?? new V1.PublishSettings();
        return new TrainingSpec
        {
            Adapter = spec.Adapter,
            AdapterConfig = spec.AdapterConfig,
            Optimizer = new OptimizerSpec
            {
                Kind = s_optimizers.Read("optimizer.kind", optimizer.Kind),
                LearningRate = optimizer.LearningRate == 0 ? 2e-4 : optimizer.LearningRate,
                Schedule = s_schedules.Read("optimizer.schedule", optimizer.Schedule),
                WarmUpSteps = optimizer.WarmUpSteps,
                WeightDecay = optimizer.HasWeightDecay ? optimizer.WeightDecay : 0.01,
                MaxGradientNorm = optimizer.HasMaxGradientNorm ? optimizer.MaxGradientNorm : 1,
                LoraPlusRatio = optimizer.LoraPlusRatio == 0 ? 16 : optimizer.LoraPlusRatio,
                FreezesA = optimizer.FreezeA,
            },
            Data = ReadData(spec.Data ?? new V1.DataSettings()),
            Run = new RunSpec
            {
                Steps = run.Steps,
                Epochs = run.Epochs == 0 ? 3 : run.Epochs,
                MaxBatchTokens = run.MaxBatchTokens == 0 ? 1024 : run.MaxBatchTokens,
                MicroBatches = run.MicroBatches == 0 ? 1 : run.MicroBatches,
                CheckpointEvery = run.CheckpointEvery == 0 ? 100 : run.CheckpointEvery,
                Seed = run.Seed,
                GradientCheckpointing = run.GradientCheckpointing,
            },
            Evaluation = new EvaluationSpec
            {
                Every = evaluation.Every,
                Patience = evaluation.Patience,
                ExactMatchSamples = evaluation.ExactMatchSamples,
                ExactMatchTokens = evaluation.ExactMatchTokens == 0 ? 64 : evaluation.ExactMatchTokens,
            },
            Publish = new PublishSpec
            {
                Mode = s_modes.Read("publish.mode", publish.Mode),
                Which = s_which.Read("publish.which", publish.Which),
                Load = publish.Load,
                Pin = publish.Pin,
            },
            BaseWeights = s_weights.Read("base_weights", spec.BaseWeights),
        };
    }

    /// <summary>How a data set is read.</summary>
    /// <exception cref="InvalidRequestException">A word is not one of the field's.</exception>
    public static DataSpec ReadData(V1.DataSettings data) => new()
    {
        Name = data.Name.Length == 0 ? "data.jsonl" : data.Name,
        MaxSampleTokens = data.MaxSampleTokens == 0 ? 512 : data.MaxSampleTokens,
        LongSamples = s_longSamples.Read("data.long_samples", data.LongSamples),
        HeldOutShare = data.HasHeldOutShare ? data.HeldOutShare : 0.05,
        Seed = data.Seed,
    };

    public static V1.TrainingSpec Write(TrainingSpec spec) => new()
    {
        Adapter = spec.Adapter,
        AdapterConfig = spec.AdapterConfig,
        Optimizer = new V1.OptimizerSettings
        {
            Kind = s_optimizers.Write(spec.Optimizer.Kind),
            LearningRate = spec.Optimizer.LearningRate,
            Schedule = s_schedules.Write(spec.Optimizer.Schedule),
            WarmUpSteps = spec.Optimizer.WarmUpSteps,
            WeightDecay = spec.Optimizer.WeightDecay,
            MaxGradientNorm = spec.Optimizer.MaxGradientNorm,
            LoraPlusRatio = spec.Optimizer.LoraPlusRatio,
            FreezeA = spec.Optimizer.FreezesA,
        },
        Data = new V1.DataSettings
        {
            Name = spec.Data.Name,
            MaxSampleTokens = spec.Data.MaxSampleTokens,
            LongSamples = s_longSamples.Write(spec.Data.LongSamples),
            HeldOutShare = spec.Data.HeldOutShare,
            Seed = spec.Data.Seed,
        },
        Run = new V1.RunSettings
        {
            Steps = spec.Run.Steps,
            Epochs = spec.Run.Epochs,
            MaxBatchTokens = spec.Run.MaxBatchTokens,
            MicroBatches = spec.Run.MicroBatches,
            CheckpointEvery = spec.Run.CheckpointEvery,
            Seed = spec.Run.Seed,
            GradientCheckpointing = spec.Run.GradientCheckpointing,
        },
        Evaluation = new V1.EvaluationSettings
        {
            Every = spec.Evaluation.Every,
            Patience = spec.Evaluation.Patience,
            ExactMatchSamples = spec.Evaluation.ExactMatchSamples,
            ExactMatchTokens = spec.Evaluation.ExactMatchTokens,
        },
        Publish = new V1.PublishSettings
        {
            Mode = s_modes.Write(spec.Publish.Mode),
            Which = s_which.Write(spec.Publish.Which),
            Load = spec.Publish.Load,
            Pin = spec.Publish.Pin,
        },
        BaseWeights = s_weights.Write(spec.BaseWeights),
    };

    /// <summary>The words of a field; the empty one means the first.</summary>
    private sealed class Choice<T>(params (string Word, T Value)[] words)
    {
        public T Read(string field, string word)
        {
            foreach ((string known, T value) in words)
            {
                if (word.Length == 0 || word == known)
                {
                    return value;
                }
            }

            string shown = word.Length <= 40 ? word : word[..40] + "...";
            IEnumerable<string> all = words.Where(each => each.Word.Length > 0).Select(each => each.Word);
            throw new InvalidRequestException(
                field, string.Create(CultureInfo.InvariantCulture, $"'{shown}' is not one of {string.Join(", ", all)}"));
        }

        public string Write(T value) => words.First(each => EqualityComparer<T>.Default.Equals(each.Value, value)).Word;
    }
}
