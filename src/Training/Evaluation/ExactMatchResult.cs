namespace InferenceServer.Training.Evaluation;

/// <summary>How many questions were answered exactly as expected.</summary>
/// <param name="Right">Those that were.</param>
/// <param name="Total">Those asked.</param>
/// <param name="Wrong">Some that were not.</param>
public sealed record ExactMatchResult(int Right, int Total, IReadOnlyList<WrongAnswer> Wrong)
{
    /// <summary>From 0 to 1; 0 when nothing was asked.</summary>
    public double Share => Total > 0 ? (double)Right / Total : 0;
}
