namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>What a value gives to a <c>for</c>, and what lies at its places.</summary>
internal static class Iteration
{
    /// <summary>The items of anything that can be iterated.</summary>
    /// <exception cref="ChatTemplateException">The value cannot be iterated.</exception>
    public static object?[] ItemsOf(RenderBudget budget, object? value)
    {
        object?[] items = value switch
        {
            TemplateSequence sequence => sequence.Items,
            TemplateIterator iterator => iterator.TakeAll(),
            TemplateDict dict => KeysOf(budget, dict),
            string text => PointsOf(budget, text),
            LoopState loop => loop.TakeRest(),
            Undefined => [],
            _ => throw new ChatTemplateException($"'{PythonTypes.NameOf(value)}' object is not iterable"),
        };
        budget.Step(items.Length);
        return items;
    }

    public static bool IsIterable(object? value) =>
        value is TemplateSequence or TemplateIterator or TemplateDict or string or Undefined or LoopState;

    /// <summary>The length of a value, or false when it has none.</summary>
    public static bool TryLength(RenderBudget budget, object? value, out long length)
    {
        switch (value)
        {
            case string text:
                budget.Scan(text.Length);
                length = CodePoints.Count(text);
                return true;
            case TemplateSequence sequence:
                length = sequence.Items.Length;
                return true;
            case TemplateDict dict:
                length = dict.Count;
                return true;
            case LoopState loop:
                length = loop.Count;
                return true;
            default:
                length = 0;
                return value is Undefined;
        }
    }

    public static object?[] KeysOf(RenderBudget budget, TemplateDict dict)
    {
        budget.AllocateItems(dict.Count);
        return [.. dict.Entries.Select(entry => entry.Key)];
    }

    /// <summary>The entries of a dictionary as pairs.</summary>
    public static object?[] PairsOf(RenderBudget budget, TemplateDict dict)
    {
        budget.AllocateEntries(dict.Count);
        return [.. dict.Entries.Select(entry => TemplateSequence.Tuple(entry.Key, entry.Value))];
    }

    private static object?[] PointsOf(RenderBudget budget, string text)
    {
        budget.AllocateItems(text.Length);
        return CodePoints.Split(text);
    }
}
