using System.Buffers;

namespace InferenceServer.Client;

/// <summary>The size of an adapter and where it is; what is not set takes the method's default.</summary>
public sealed record AdapterSettings
{
    // A dot is in no list: it is in names of modules too.
    private static readonly SearchValues<char> s_patternCharacters = SearchValues.Create("*+?()[]{}|^$\\");

    /// <summary>Rank of each pair, of AdaLoRA the mean rank that is left at the end; 0 for the method's default.</summary>
    public int Rank { get; init; }

    /// <summary>Numerator of the scale; 0 for twice the rank.</summary>
    public double Alpha { get; init; }

    /// <summary>Names of modules, or one regular expression, or "all-linear"; empty for the method's default.</summary>
    public IReadOnlyList<string> Targets { get; init; } = [];

    /// <summary>Share of an adapter's input that is dropped while training.</summary>
    public double Dropout { get; init; }

    /// <summary>Names of the adapters that a router weighs for each token, 2 to 64 that the server has.</summary>
    public IReadOnlyList<string> Over { get; init; } = [];

    /// <summary>How many of <see cref="Over"/> take part in a token, 2 or more; 0 for all.</summary>
    public int TopK { get; init; }

    /// <summary>Targets as a person writes them: names with commas between, or a regular expression, which may hold commas too.</summary>
    public static IReadOnlyList<string> ParseTargets(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return IsPattern(text) ? [text] : text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
    }

    internal static bool IsPattern(string target) => target.AsSpan().ContainsAny(s_patternCharacters);
}
