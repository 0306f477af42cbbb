using System.Globalization;

namespace InferenceServer.Cpu.Memory;

/// <summary>What became of asking for huge pages.</summary>
internal static class HugePages
{
    private const string Switch = "/sys/kernel/mm/transparent_hugepage/enabled";
    private const string Usage = "/proc/self/smaps_rollup";

    /// <summary>A few words for the start-up log: not what was asked for but what the system gave to this process by now.</summary>
    /// <param name="wanted">Whether they were asked for.</param>
    public static string Describe(bool wanted)
    {
        if (!wanted)
        {
            return "huge pages off";
        }

        try
        {
            return File.Exists(Switch) && File.ReadAllText(Switch).Contains("[never]", StringComparison.Ordinal)
                ? $"no huge pages ({Switch} is never)"
                : Describe(File.ReadLines(Usage));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return "no huge pages known of";
        }
    }

    /// <summary>The same from the lines of smaps_rollup.</summary>
    internal static string Describe(IEnumerable<string> usage)
    {
        // Memory of its own, and files that it has mapped.
        string[] fields = ["AnonHugePages:", "FilePmdMapped:"];
        bool isKnown = false;
        long kilobytes = 0;
        foreach (string line in usage)
        {
            if (fields.FirstOrDefault(field => line.StartsWith(field, StringComparison.Ordinal)) is { } field
                && long.TryParse(
                    line[field.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(),
                    NumberStyles.None,
                    CultureInfo.InvariantCulture,
                    out long count))
            {
                isKnown = true;
                kilobytes += count;
            }
        }

        return isKnown ? string.Create(CultureInfo.InvariantCulture, $"{kilobytes >> 10} MiB in huge pages") : "no huge pages known of";
    }
}
