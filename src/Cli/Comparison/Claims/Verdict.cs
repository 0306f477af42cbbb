namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>A ruling with the numbers it rests on.</summary>
internal sealed record Verdict(Ruling Ruling, string Evidence)
{
    public static Verdict Of(bool holds, string evidence) => new(holds ? Ruling.Holds : Ruling.DoesNotHold, evidence);

    public static Verdict Unknown(string why) => new(Ruling.CannotBeJudged, why);
}
