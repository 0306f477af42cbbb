using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Filters over the items of a value that keep their order.</summary>
internal static class SequenceFilters
{
    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["length"] = new((c, v, _) => Iteration.TryLength(c.Budget, v, out long length)
            ? length
            : throw new ChatTemplateException($"object of type '{PythonTypes.NameOf(v)}' has no len()")),
        ["list"] = new((c, v, _) => ListOf(c, Iteration.ItemsOf(c.Budget, v))),
        ["items"] = new((c, v, _) => new TemplateIterator(() => v switch
        {
            TemplateDict dict => Iteration.PairsOf(c.Budget, dict),
            Undefined => [],
            _ => throw new ChatTemplateException("Can only get item pairs from a mapping."),
        })),
        ["first"] = new(First),
        ["last"] = new(Last),
        ["reverse"] = new(Reverse),
        ["sum"] = new(Sum, "attribute", "start"),
        ["batch"] = new((c, v, a) => new TemplateIterator(() => Batch(c, v, a)), "linecount", "fill_with"),
        ["slice"] = new((c, v, a) => new TemplateIterator(() => Slice(c, v, a)), "slices", "fill_with"),
    };

    private static TemplateSequence ListOf(RenderContext context, object?[] items)
    {
        context.Budget.AllocateItems(items.Length);
        return TemplateSequence.List(items);
    }

    private static object? First(RenderContext context, object? value, Arguments arguments)
    {
        if (value is TemplateIterator iterator)
        {
            return iterator.TryTakeOne(out object? one) ? one : new Undefined("No first item, sequence was empty.");
        }

        object?[] items = Iteration.ItemsOf(context.Budget, value);
        return items.Length > 0 ? items[0] : new Undefined("No first item, sequence was empty.");
    }

    private static object? Last(RenderContext context, object? value, Arguments arguments)
    {
        object?[] items = value is TemplateIterator
            ? throw new ChatTemplateException("'generator' object is not reversible")
            : Iteration.ItemsOf(context.Budget, value);
        return items.Length > 0 ? items[^1] : new Undefined("No last item, sequence was empty.");
    }

    private static object Reverse(RenderContext context, object? value, Arguments arguments)
    {
        object?[] items = [.. Iteration.ItemsOf(context.Budget, value).Reverse()];
        context.Budget.AllocateItems(items.Length);
        if (value is string)
        {
            return string.Concat(items.Cast<string>());
        }

        return value is TemplateIterator ? TemplateSequence.List(items) : new TemplateIterator(() => items);
    }

    private static object? Sum(RenderContext context, object? value, Arguments arguments)
    {
        object? sum = arguments.Get(1, 0L);
        foreach (object? item in Iteration.ItemsOf(context.Budget, value))
        {
            object? one = arguments.Get(0) is object path ? SelectionFilters.Follow(context, item, path) : item;
            sum = sum is string ? throw new ChatTemplateException("sum() can't sum strings") : Arithmetic.Apply(context.Budget, "+", sum, one);
        }

        return sum;
    }

    private static object?[] Batch(RenderContext context, object? value, Arguments arguments)
    {
        object?[] items = Iteration.ItemsOf(context.Budget, value);
        int count = (int)Math.Clamp(arguments.Integer(0, "batch", 0), 1, Math.Max(1, items.Length + 1));
        List<object?> batches = [];
        foreach (object?[] chunk in items.Chunk(count))
        {
            batches.Add(ListOf(context, arguments.Get(1) is object fill ? [.. chunk, .. Enumerable.Repeat(fill, count - chunk.Length)] : chunk));
        }

        return [.. batches];
    }

    private static object?[] Slice(RenderContext context, object? value, Arguments arguments)
    {
        object?[] items = Iteration.ItemsOf(context.Budget, value);
        long count = arguments.Integer(0, "slice", 0);
        if (count <= 0)
        {
            throw new ChatTemplateException($"slice needs a number of slices above 0, not {count}");
        }

        context.Budget.AllocateItems(count);
        List<object?> slices = [];
        int start = 0;
        for (long i = 0; i < count; i++)
        {
            int size = (int)((items.Length / count) + (i < items.Length % count ? 1 : 0));
            object?[] slice = items[start..(start + size)];
            slices.Add(ListOf(context, arguments.Get(1) is object fill && i >= items.Length % count ? [.. slice, fill] : slice));
            start += size;
        }

        return [.. slices];
    }
}
