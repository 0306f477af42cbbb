using System.ComponentModel.DataAnnotations;
using InferenceServer.Tensors;

namespace InferenceServer.Engine.Merging;

/// <summary>When the engine merges a dominant tenant's adapter by itself.</summary>
public sealed class MergeOptions : IValidatableObject
{
    public const string SectionName = "Merge";

    /// <summary>
    /// Whether it does. Default false: a merge takes the memory of a second copy of the folded weights, and every other tenant pays for
    /// being restored; only an operator knows whether the traffic is worth it.
    /// </summary>
    public bool Automatic { get; set; }

    /// <summary>
    /// How the folded weights are kept: F32 or BF16; null, the default, for what suits the device. F32 rounds none of them, and costs twice the
    /// bytes of a BF16 base in the changed matrices, or more of its time where products with bf16 weights have instructions of their own. BF16
    /// keeps the base's speed and rounds each changed weight once more. It suits where the base's products round their inputs to as few bits:
    /// products with F32 copies do not, so that these move logits as much as BF16 copies do. A quantised base is folded as it unpacks, and its
    /// changed matrices grow to these formats meanwhile.
    /// </summary>
    public WeightFormat? Format { get; set; }

    /// <summary>How far back traffic is looked at. Default 30 s: longer than a burst, shorter than a change of habits.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "01:00:00")]
    public TimeSpan Window { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Share of the window's tokens from which an adapter is merged. Default 0.8: S-LoRA's ablation has merging win only with about one hot adapter.</summary>
    [Range(0.0, 1.0)]
    public double MergeShare { get; set; } = 0.8;

    /// <summary>Share below which it is taken out again. Default 0.5, well below <see cref="MergeShare"/>, so that it does not go in and out.</summary>
    [Range(0.0, 1.0)]
    public double UnmergeShare { get; set; } = 0.5;

    /// <summary>Fewest tokens in the window for any decision. Default 2000: a handful of requests proves nothing.</summary>
    [Range(1, long.MaxValue)]
    public long MinimumTokens { get; set; } = 2000;

    /// <summary>Least time between two changes. Default 60 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00", "1.00:00:00")]
    public TimeSpan Cooldown { get; set; } = TimeSpan.FromSeconds(60);

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Format is { } format && format.IsQuantized())
        {
            yield return new ValidationResult($"{nameof(Format)} {Format}: merged weights are kept in F32 or BF16", [nameof(Format)]);
        }

        if (UnmergeShare > MergeShare)
        {
            yield return new ValidationResult(
                $"{nameof(UnmergeShare)} {UnmergeShare} exceeds {nameof(MergeShare)} {MergeShare}: an adapter would be taken out as soon as it is in",
                [nameof(UnmergeShare)]);
        }
    }
}
