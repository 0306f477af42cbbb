using System.Globalization;

namespace InferenceServer.Benchmarks;

/// <summary>Reads "--name value" pairs.</summary>
internal static class CommandLine
{
    public static string? Option(string[] arguments, string name)
    {
        int at = Array.IndexOf(arguments, name);
        return at >= 0 && at + 1 < arguments.Length ? arguments[at + 1] : null;
    }

    /// <summary>A whole number, at least <paramref name="least"/>.</summary>
    /// <exception cref="ArgumentException">It is no such number.</exception>
    public static int Number(string[] arguments, string name, int byDefault, int least = 1)
    {
        string? text = Option(arguments, name);
        if (text is null)
        {
            return byDefault;
        }

        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= least
            ? value
            : throw new ArgumentException($"{name} '{text}' is not a whole number of at least {least}");
    }

    /// <summary>Words between commas, each of them known.</summary>
    /// <exception cref="ArgumentException">One is not.</exception>
    public static string[] Choices(string[] arguments, string name, string byDefault, IReadOnlyList<string> known)
    {
        string[] chosen = (Option(arguments, name) ?? byDefault).Split(',', StringSplitOptions.RemoveEmptyEntries);
        return chosen.FirstOrDefault(choice => !known.Contains(choice)) is { } other
            ? throw new ArgumentException($"{name} '{other}' is none of {string.Join(", ", known)}")
            : chosen;
    }
}
