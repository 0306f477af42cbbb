using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Filters that put items in order or compare them. Texts are compared without regard to case unless asked otherwise.</summary>
internal static class OrderFilters
{
    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["sort"] = new((c, v, a) =>
            TemplateSequence.List(Sorted(c, Iteration.ItemsOf(c.Budget, v), ListKey(c, a.Flag(1), a.Get(2)), a.Flag(0))), "reverse", "case_sensitive", "attribute"),
        ["dictsort"] = new(DictSort, "case_sensitive", "by", "reverse"),
        ["min"] = new((c, v, a) => Extreme(c, v, a, sign: -1), "case_sensitive", "attribute"),
        ["max"] = new((c, v, a) => Extreme(c, v, a, sign: 1), "case_sensitive", "attribute"),
        ["unique"] = new((c, v, a) => new TemplateIterator(() => Unique(c, v, a)), "case_sensitive", "attribute"),
        ["groupby"] = new(GroupBy, "attribute", "default", "case_sensitive"),
    };

    /// <summary>The key of the filter sort: always a list, as several attributes may be given, so that two undefined keys are equal.</summary>
    private static Func<object?, object?> ListKey(RenderContext context, bool caseSensitive, object? attribute)
    {
        object?[] attributes = attribute is string several ? several.Split(',') : [attribute];
        Func<object?, object?>[] keys = Array.ConvertAll(attributes, one => Key(context, caseSensitive, one));
        return item => TemplateSequence.List(Array.ConvertAll(keys, key => key(item)));
    }

    private static Func<object?, object?> Key(RenderContext context, bool caseSensitive, object? attribute, object? otherwise = null)
    {
        return item =>
        {
            object? key = attribute is null ? item : SelectionFilters.Follow(context, item, attribute);
            key = key is Undefined && otherwise is not null ? otherwise : key;
            return key is string text && !caseSensitive ? CaseMapping.Lower(context.Budget.Own(text)) : key;
        };
    }

    /// <summary>Stable, also in reverse, as Python's sort is.</summary>
    private static object?[] Sorted(RenderContext context, object?[] items, Func<object?, object?> key, bool reverse)
    {
        context.Budget.AllocateItems(items.Length);
        Comparer<object?> order = Comparer<object?>.Create((a, b) =>
            Comparison.Compare(context.Budget, a, b, "<"));
        try
        {
            return reverse ? [.. items.OrderByDescending(key, order)] : [.. items.OrderBy(key, order)];
        }
        catch (InvalidOperationException error) when (error.InnerException is ChatTemplateException or OperationCanceledException)
        {
            throw error.InnerException;
        }
    }

    private static TemplateSequence DictSort(RenderContext context, object? value, Arguments arguments)
    {
        TemplateDict dict = value as TemplateDict ?? throw new ChatTemplateException($"dictsort needs a mapping, not {PythonTypes.NameOf(value)}");
        long part = arguments.Text(1, "dictsort") switch
        {
            null or "key" => 0,
            "value" => 1,
            _ => throw new ChatTemplateException("You can only sort by either \"key\" or \"value\""),
        };
        Func<object?, object?> key = Key(context, arguments.Flag(0), part);
        return TemplateSequence.List(Sorted(context, Iteration.PairsOf(context.Budget, dict), key, arguments.Flag(2)));
    }

    private static object? Extreme(RenderContext context, object? value, Arguments arguments, int sign)
    {
        object?[] items = Iteration.ItemsOf(context.Budget, value);
        if (items.Length == 0)
        {
            return new Undefined("No aggregated item, sequence was empty.");
        }

        Func<object?, object?> key = Key(context, arguments.Flag(0), arguments.Get(1));
        object? best = items[0];
        object? bestKey = key(best);
        foreach (object? item in items.Skip(1))
        {
            object? itemKey = key(item);
            if (Comparison.Compare(context.Budget, itemKey, bestKey, sign < 0 ? "<" : ">") * sign > 0)
            {
                (best, bestKey) = (item, itemKey);
            }
        }

        return best;
    }

    private static object?[] Unique(RenderContext context, object? value, Arguments arguments)
    {
        Func<object?, object?> key = Key(context, arguments.Flag(0), arguments.Get(1));
        TemplateDict seen = new();
        List<object?> unique = [];
        foreach (object? item in Iteration.ItemsOf(context.Budget, value))
        {
            object? itemKey = key(item);
            if (!Comparison.Contains(context.Budget, seen, itemKey))
            {
                context.Budget.AllocateEntries(1);
                seen.Set(itemKey, true);
                unique.Add(item);
            }
        }

        return [.. unique];
    }

    private static TemplateSequence GroupBy(RenderContext context, object? value, Arguments arguments)
    {
        object? attribute = arguments.Required(0, "groupby");
        Func<object?, object?> key = Key(context, arguments.Flag(2), attribute, otherwise: arguments.Get(1));
        Func<object?, object?> shown = Key(context, caseSensitive: true, attribute, otherwise: arguments.Get(1));
        List<List<object?>> groups = [];
        object? lastKey = null;
        foreach (object? item in Sorted(context, Iteration.ItemsOf(context.Budget, value), key, reverse: false))
        {
            object? itemKey = key(item);
            if (groups.Count == 0 || !Comparison.AreEqual(context.Budget, itemKey, lastKey))
            {
                context.Budget.AllocateEntries(1);
                groups.Add([]);
            }

            groups[^1].Add(item);
            lastKey = itemKey;
        }

        return TemplateSequence.List([.. groups.Select(group => Group(shown(group[0]), TemplateSequence.List([.. group])))]);
    }

    private static TemplateSequence Group(object? grouper, TemplateSequence list) =>
        new([grouper, list], SequenceKind.Tuple) { FieldNames = ["grouper", "list"] };
}
