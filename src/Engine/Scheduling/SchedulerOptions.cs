using System.ComponentModel.DataAnnotations;

namespace InferenceServer.Engine.Scheduling;

/// <summary>Limits of one step and of the queue before it.</summary>
public sealed class SchedulerOptions : IValidatableObject
{
    public const string SectionName = "Scheduler";

    /// <summary>
    /// Most tokens (rows) of one step. Default 512: on a CPU that is a few hundred milliseconds for a small model, the longest that a
    /// running generation waits for its next token behind somebody's prompt. The server takes more on a GPU where nobody has said.
    /// </summary>
    [Range(1, 1 << 20)]
    public int MaxBatchTokens { get; set; } = 512;

    /// <summary>Most sequences that hold KV blocks and run at once. Default 64: beyond it each one only becomes slower on a CPU; more on a GPU.</summary>
    [Range(1, 1 << 16)]
    public int MaxRunningSequences { get; set; } = 64;

    /// <summary>
    /// Most requests that wait (for an adapter or for room) before new ones are refused. Default 1024: more than a client's patience;
    /// a refusal with a delay is better than a wait without an end.
    /// </summary>
    [Range(1, 1 << 24)]
    public int MaxWaiting { get; set; } = 1024;

    /// <summary>
    /// How many younger sequences may pass one that does not fit at the moment. Default 32: short prompts fill the gaps, and a long one
    /// still has its turn.
    /// </summary>
    [Range(0, 1 << 20)]
    public int MaxSkips { get; set; } = 32;

    /// <summary>Tokens of one KV block. Default 16: less than one block is wasted a sequence, and prefixes are shared in steps of 16 tokens.</summary>
    [Range(1, 1024)]
    public int KvBlockSize { get; set; } = 16;

    /// <summary>Whether full KV blocks are found again by sequences with the same adapters and the same first tokens. Default true.</summary>
    public bool PrefixCaching { get; set; } = true;

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (MaxRunningSequences > MaxBatchTokens)
        {
            yield return new ValidationResult(
                $"{nameof(MaxRunningSequences)} {MaxRunningSequences} exceeds {nameof(MaxBatchTokens)} {MaxBatchTokens}: every running sequence takes a row of each step",
                [nameof(MaxRunningSequences)]);
        }
    }
}
