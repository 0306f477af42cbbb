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
        return text is null ? byDefault : Number(name, text, least);
    }

    /// <summary>The value of the option <paramref name="name"/>, or one of its values.</summary>
    /// <exception cref="ArgumentException">It is no such number.</exception>
    public static int Number(string name, string text, int least) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= least
            ? value
            : throw new ArgumentException($"{name} '{text}' is not a whole number of at least {least}");

    /// <summary>Words between commas, each of them known.</summary>
    /// <exception cref="ArgumentException">One is not.</exception>
    public static string[] Choices(string[] arguments, string name, string byDefault, IReadOnlyList<string> known)
    {
        string[] chosen = (Option(arguments, name) ?? byDefault).Split(',', StringSplitOptions.RemoveEmptyEntries);
        return chosen.FirstOrDefault(choice => !known.Contains(choice)) is { } other
            ? throw new ArgumentException($"{name} '{other}' is none of {string.Join(", ", known)}")
            : chosen;
    }

    /// <summary>The arguments as they are typed.</summary>
    public static string Join(IEnumerable<string> arguments) =>
        string.Join(' ', arguments.Select(argument => argument.Contains(' ') || argument.Length == 0 ? $"\"{argument}\"" : argument));
}
