using System.Text.Json.Serialization;
using InferenceServer.Cli.Charts;

namespace InferenceServer.Cli.Comparison;

/// <summary>What one job of a comparison gave: a contender at a learning rate.</summary>
internal sealed record Trial
{
    public required string Contender { get; init; }

    public required double Rate { get; init; }

    public required string Job { get; init; }

    /// <summary>Why there is no result; empty when there is one.</summary>
    public string Error { get; init; } = "";

    public int Steps { get; init; }

    /// <summary>Held-out loss by step.</summary>
    public IReadOnlyList<ChartPoint> HeldOut { get; init; } = [];

    public long TrainableParameters { get; init; }

    /// <summary>Size of what is exported.</summary>
    public long AdapterBytes { get; init; }

    /// <summary>Largest memory of parameters, moments, activations and gradients; 0 when it was not measured.</summary>
    public long PeakBytes { get; init; }

    /// <summary>The base as the job kept it.</summary>
    public long BaseBytes { get; init; }

    /// <summary>In steps, without waiting and evaluating.</summary>
    public double TrainingSeconds { get; init; }

    public int ExactRight { get; init; }

    public int ExactTotal { get; init; }

    /// <summary>AdaLoRA: the largest rank of a module in the end; 0 where it was not asked for.</summary>
    public int LargestRank { get; init; }

    [JsonIgnore]
    public bool Succeeded => Error.Length == 0 && HeldOut.Count > 0;

    /// <summary>Lowest held-out loss; not a number without one.</summary>
    [JsonIgnore]
    public double BestLoss => Succeeded ? HeldOut.Min(point => point.Y) : double.NaN;

    /// <summary>Held-out loss after the last step.</summary>
    [JsonIgnore]
    public double FinalLoss => Succeeded ? HeldOut[^1].Y : double.NaN;

    /// <summary>With the base; null when it was not measured.</summary>
    [JsonIgnore]
    public long? PeakMemory => PeakBytes > 0 ? PeakBytes + BaseBytes : null;

    /// <summary>
    /// Steps until the held-out loss is down to a value: between two evaluations on the straight line from one to the other; null when it
    /// never is.
    /// </summary>
    public int? StepsTo(double loss)
    {
        for (int i = 0; i < HeldOut.Count; i++)
        {
            (double step, double value) = HeldOut[i];
            if (value <= loss)
            {
                if (i == 0)
                {
                    return (int)step;
                }

                (double before, double above) = HeldOut[i - 1];
                return (int)Math.Ceiling(before + ((step - before) * (above - loss) / (above - value)));
            }
        }

        return null;
    }

    /// <summary>Seconds of training until then, at the job's mean pace.</summary>
    public double? SecondsTo(double loss) => StepsTo(loss) is { } steps && Steps > 0 ? TrainingSeconds * steps / Steps : null;
}
