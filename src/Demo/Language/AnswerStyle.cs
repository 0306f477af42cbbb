using System.Globalization;

namespace InferenceServer.Demo.Language;

/// <summary>
/// A way to answer. The base answers in <see cref="Sentence"/>, and in another style when the question ends with its instruction; a tenant
/// answers in its style without being asked.
/// </summary>
public sealed class AnswerStyle
{
    private readonly Func<Term, string> _write;
    private readonly bool _isForNumbers;

    private AnswerStyle(string name, string instruction, Func<Term, string> write, bool isForNumbers = false)
    {
        Name = name;
        Instruction = instruction;
        _write = write;
        _isForNumbers = isForNumbers;
    }

    /// <summary>The base's own: <c>The answer is 42.</c></summary>
    public static AnswerStyle Sentence { get; } = new("sentence", "", term => $"The answer is {term.English}.");

    /// <summary>The tenants'.</summary>
    public static IReadOnlyList<AnswerStyle> All { get; } =
    [
        new("brief", "Be brief.", term => term.English),
        new("words", "Answer in words.", term => NumberWords.English(term.Number!.Value), isForNumbers: true),
        new("german", "Answer in German.", term => $"Die Antwort ist {term.German}."),
        new("roman", "Answer in Roman numerals.", term => NumberWords.Roman(term.Number!.Value), isForNumbers: true),
        new("json", "Answer in JSON.", term => term.Number is null ? $"{{\"answer\": \"{term.English}\"}}" : $"{{\"answer\": {term.English}}}"),
        new("capitals", "Answer in capitals.", term => $"THE ANSWER IS {Spoken(term).ToUpperInvariant()}."),
    ];

    public string Name { get; }

    /// <summary>The words that ask the base for the style.</summary>
    public string Instruction { get; }

    /// <exception cref="ArgumentException">There is none.</exception>
    public static AnswerStyle Find(string name) =>
        All.FirstOrDefault(style => style.Name == name)
        ?? throw new ArgumentException($"'{name}' is no style; there are {string.Join(", ", All.Select(style => style.Name))}");

    /// <summary>Whether the style can say it: some only know numbers.</summary>
    public bool Fits(Term term) => term.Number is not null || !_isForNumbers;

    /// <summary>The answer.</summary>
    public string Write(Term term) => _write(term);

    /// <summary>The question, with the instruction where there is one.</summary>
    public string Ask(string question) => Instruction.Length == 0 ? question : string.Create(CultureInfo.InvariantCulture, $"{question} {Instruction}");

    private static string Spoken(Term term) => term.Number is { } number ? NumberWords.English(number) : term.English;
}
