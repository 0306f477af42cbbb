namespace InferenceServer.TestKit;

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">Zero for success.</param>
/// <param name="Output">What it wrote, with what it wrote to the error stream after it.</param>
public sealed record ToolResult(int ExitCode, string Output)
{
    /// <summary>The last line that is not empty: scripts say there how many checks passed.</summary>
    public string LastLine => Output.TrimEnd().Split('\n')[^1];
}
