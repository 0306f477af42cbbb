namespace InferenceServer.Benchmarks.Gpu.Conformance;

/// <summary>What became of one test; a line of output of the process that runs them.</summary>
/// <param name="Number">Its place among all.</param>
/// <param name="Total">How many there are.</param>
/// <param name="Name">Class, method and arguments.</param>
/// <param name="Result">One of the names below.</param>
/// <param name="Message">Why it failed or was skipped.</param>
internal sealed record TestOutcome(int Number, int Total, string Name, string Result, string Message)
{
    public const string Passed = "passed";

    public const string Failed = "failed";

    public const string Skipped = "skipped";
}
