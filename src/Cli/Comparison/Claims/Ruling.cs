namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>What the measured rows say of a claim.</summary>
internal enum Ruling
{
    Holds,
    DoesNotHold,
    CannotBeJudged,
}
