namespace InferenceServer.Demo.Language;

/// <summary>Sorts of questions.</summary>
public enum QuestionKind
{
    /// <summary>Sums up to 99.</summary>
    Sum,

    /// <summary>Differences of numbers up to 99, at least 1.</summary>
    Difference,

    /// <summary>The larger or smaller of two numbers.</summary>
    Comparison,

    /// <summary>The number after or before another.</summary>
    Neighbour,

    /// <summary>Days, months, opposites, colours, capitals, counts.</summary>
    Fact,
}
