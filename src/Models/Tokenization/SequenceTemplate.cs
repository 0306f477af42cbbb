namespace InferenceServer.Models.Tokenization;

/// <summary>The special tokens around the ids of a text.</summary>
/// <param name="Before">In front of it.</param>
/// <param name="After">Behind it.</param>
internal sealed record SequenceTemplate(int[] Before, int[] After)
{
    /// <summary>The same with the beginning token in front, or without it.</summary>
    public SequenceTemplate WithBeginning(int id, bool wanted)
    {
        int[] without = [.. Before.Where(other => other != id)];
        return wanted && Before.Contains(id) ? this : this with { Before = wanted ? [id, .. without] : without };
    }

    /// <summary>The same with the end token behind, or without it.</summary>
    public SequenceTemplate WithEnd(int id, bool wanted)
    {
        int[] without = [.. After.Where(other => other != id)];
        return wanted && After.Contains(id) ? this : this with { After = wanted ? [.. without, id] : without };
    }
}
