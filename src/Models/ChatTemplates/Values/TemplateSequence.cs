namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Which of Python's sequences a <see cref="TemplateSequence"/> stands for; they print, index and compare differently.</summary>
internal enum SequenceKind
{
    List,
    Tuple,
    Range,
    DictKeys,
    DictValues,
    DictItems,
}

/// <summary>A list, a tuple, a range or a view of a dictionary. Never changes.</summary>
/// <param name="items">The items; the sequence owns the array.</param>
/// <param name="kind">What Python would call it.</param>
/// <param name="text">How a range prints; null for the others.</param>
internal sealed class TemplateSequence(object?[] items, SequenceKind kind, string? text = null)
{
    public static TemplateSequence EmptyTuple { get; } = new([], SequenceKind.Tuple);

    public object?[] Items => items;

    public SequenceKind Kind => kind;

    public string? Text => text;

    /// <summary>The names of the places of a tuple that has them (what groupby gives); else null.</summary>
    public string[]? FieldNames { get; init; }

    /// <summary>Views of dictionaries can be iterated, but have no item 0.</summary>
    public bool IsIndexable => kind is SequenceKind.List or SequenceKind.Tuple or SequenceKind.Range;

    public static TemplateSequence List(params object?[] items) => new(items, SequenceKind.List);

    public static TemplateSequence Tuple(params object?[] items) => new(items, SequenceKind.Tuple);
}
