using System.Text.RegularExpressions;
using InferenceServer.TestKit;

namespace InferenceServer.IntegrationTests.Readme;

/// <summary>
/// The shell commands of the README: the lines of its fenced blocks without a language or marked <c>sh</c>, continued lines joined,
/// comments left out.
/// </summary>
internal static partial class ReadmeCommands
{
    public static IReadOnlyList<string> All { get; } = Read();

    /// <summary>The commands that begin so, as the arguments that follow.</summary>
    public static IReadOnlyList<string[]> Arguments(string command)
    {
        return [.. All.Where(line => line == command || line.StartsWith(command + " ", StringComparison.Ordinal))
            .Select(line => Words().Matches(line[command.Length..]).Select(Unquoted).ToArray())];
    }

    private static string Unquoted(Match word) => word.Groups[1].Success ? word.Groups[1].Value : word.Value;

    private static List<string> Read()
    {
        List<string> commands = [];
        string pending = "";
        bool inBlock = false;
        bool isShell = false;
        foreach (string line in File.ReadLines(Path.Combine(GoldenData.RepositoryRoot()!, "README.md")))
        {
            if (line.StartsWith("```", StringComparison.Ordinal))
            {
                inBlock = !inBlock;
                isShell = line is "```" or "```sh";
            }
            else if (inBlock && isShell)
            {
                string text = pending + Comment().Replace(line, "").Trim();
                bool goesOn = text.EndsWith('\\');
                pending = goesOn ? text[..^1] : "";
                if (!goesOn && text.Length > 0)
                {
                    commands.Add(text);
                }
            }
        }

        return commands;
    }

    [GeneratedRegex(@"(^|\s+)#.*$")]
    private static partial Regex Comment();

    // Double quotes hold a word together; the README uses no other quoting.
    [GeneratedRegex("\"([^\"]*)\"|[^\\s\"]+")]
    private static partial Regex Words();
}
