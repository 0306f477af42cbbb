using System.Globalization;
using System.Text;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.TestKit;

/// <summary>Runs one check over every golden case found, says how many there were, and fails when there was none.</summary>
public static class GoldenCases
{
    private static readonly Lock s_logLock = new();

    /// <summary>Runs <paramref name="check"/> on every folder matching a path below the golden root.</summary>
    /// <param name="output">Where the count and the failures go.</param>
    /// <param name="relative">Path below the root whose last parts may be <c>*</c>, for example <c>fixtures/adapters/*/*</c>.</param>
    /// <param name="check">Throws when the case is wrong.</param>
    /// <param name="root">Another root than the golden data's; for the small copy that every machine has.</param>
    public static void RunFolders(ITestOutputHelper output, string relative, Action<string> check, string? root = null)
    {
        Run(output, relative, Expand(root, relative, Directory.GetDirectories), check);
    }

    /// <summary>Runs <paramref name="check"/> on every file matching a path below the golden root.</summary>
    /// <param name="output">Where the count and the failures go.</param>
    /// <param name="relative">Folder and file pattern, for example <c>tokenizers/golden/mini-*.json</c>.</param>
    /// <param name="check">Throws when the case is wrong.</param>
    public static void RunFiles(ITestOutputHelper output, string relative, Action<string> check)
    {
        Run(output, relative, Expand(null, relative, Directory.GetFiles), check);
    }

    /// <summary>Runs <paramref name="check"/> on every named case; all are run even when some fail.</summary>
    public static void Run(ITestOutputHelper output, string what, IReadOnlyList<string> cases, Action<string> check)
    {
        ArgumentNullException.ThrowIfNull(output);
        ArgumentNullException.ThrowIfNull(cases);
        ArgumentNullException.ThrowIfNull(check);
        Assert.True(cases.Count > 0, $"{what}: no case found");
        StringBuilder failures = new();
        int failed = 0;
        foreach (string one in cases)
        {
            try
            {
                check(one);
            }
            catch (Exception error) when (error is not OutOfMemoryException)
            {
                failed++;
                failures.AppendLine(CultureInfo.InvariantCulture, $"{one}: {error.GetType().Name}: {error.Message}");
            }
        }

        string summary = $"golden {what}: {cases.Count} cases, {failed} failed";
        output.WriteLine(summary);
        Console.WriteLine(summary);
        Log(summary);
        Assert.True(failed == 0, $"{summary}{Environment.NewLine}{failures}");
    }

    // dotnet test shows a passing test's output nowhere; a run that names a file can show the counts itself.
    private static void Log(string summary)
    {
        if (Environment.GetEnvironmentVariable("GOLDEN_LOG") is { Length: > 0 } file)
        {
            lock (s_logLock)
            {
                File.AppendAllText(file, summary + Environment.NewLine);
            }
        }
    }

    private static List<string> Expand(string? root, string relative, Func<string, string, string[]> last)
    {
        string[] parts = relative.Split('/');
        List<string> folders = [root ?? GoldenData.Root ?? throw new InvalidOperationException(GoldenData.MissingReason)];
        for (int i = 0; i < parts.Length; i++)
        {
            string part = parts[i];
            bool isLast = i == parts.Length - 1;
            folders = [.. folders.Where(Directory.Exists)
                .SelectMany(folder => isLast ? last(folder, part) : Directory.GetDirectories(folder, part))
                .Order(StringComparer.Ordinal)];
        }

        return folders;
    }
}
