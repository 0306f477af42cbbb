using System.Numerics;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary><c>value[key]</c>, <c>value.name</c> and <c>value[a:b:c]</c>. Only what is listed here can be reached: no .NET member.</summary>
internal static class Subscript
{
    /// <summary><c>value[key]</c>: the item, else, for a text key, the attribute of that name.</summary>
    public static object? Item(RenderContext context, object? value, object? key)
    {
        (value as Undefined)?.Fail();
        context.Budget.Scan((value as string)?.Length ?? 0);
        context.Budget.Scan((key as string)?.Length ?? 0);
        if (TryItem(context.Budget, value, key, out object? item) || (key is string name && Attributes.TryGet(context, value, name, out item)))
        {
            return item;
        }

        string what = value is TemplateDict or TemplateNamespace
            ? $"'{PythonTypes.NameOf(value)} object' has no attribute {PythonText.Repr(context.Budget, key)}"
            : $"{PythonTypes.NameOf(value)} object has no element {PythonText.Repr(context.Budget, key)}";
        return new Undefined(what);
    }

    /// <summary><c>value.name</c>: the attribute (a method of a dictionary wins over a key), else the item of that name.</summary>
    public static object? Attribute(RenderContext context, object? value, string name)
    {
        (value as Undefined)?.Fail();
        return Attributes.TryGet(context, value, name, out object? item) || TryItem(context.Budget, value, name, out item)
            ? item
            : new Undefined($"'{PythonTypes.NameOf(value)} object' has no attribute '{name}'");
    }

    /// <summary><c>value[start:stop:step]</c>; each part may be none.</summary>
    public static object? Slice(RenderContext context, object? value, object? start, object? stop, object? step)
    {
        (value as Undefined)?.Fail();
        if (value is not string && value is not TemplateSequence { IsIndexable: true })
        {
            throw new ChatTemplateException($"'{PythonTypes.NameOf(value)}' object cannot be sliced");
        }

        long stride = Bound(step, 1);
        if (stride == 0)
        {
            throw new ChatTemplateException("slice step cannot be zero");
        }

        string? text = value as string;
        context.Budget.Scan(text?.Length ?? 0);
        if (text is not null && stride == 1 && !CodePoints.HasSurrogates(text))
        {
            long from = Clamp(start, 0, text.Length, 0, text.Length);
            long to = Clamp(stop, text.Length, text.Length, 0, text.Length);
            return context.Budget.Own(from < to ? text[(int)from..(int)to] : "");
        }

        object?[] items = text is null ? ((TemplateSequence)value).Items : Iteration.ItemsOf(context.Budget, text);
        List<object?> taken = Take(items, start, stop, stride);
        context.Budget.AllocateItems(taken.Count);
        return text is null
            ? new TemplateSequence([.. taken], ((TemplateSequence)value).Kind is SequenceKind.Tuple ? SequenceKind.Tuple : SequenceKind.List)
            : string.Concat(taken.Cast<string>());
    }

    private static List<object?> Take(object?[] items, object? start, object? stop, long stride)
    {
        List<object?> taken = [];
        long low = stride > 0 ? 0 : -1;
        long high = stride > 0 ? items.Length : items.Length - 1;
        long end = Clamp(stop, stride > 0 ? high : low, items.Length, low, high);
        for (long i = Clamp(start, stride > 0 ? low : high, items.Length, low, high); stride > 0 ? i < end : i > end;)
        {
            taken.Add(items[i]);
            if (stride > items.Length || stride < -items.Length)
            {
                break;
            }

            i += stride;
        }

        return taken;
    }

    private static long Clamp(object? bound, long otherwise, long length, long low, long high)
    {
        if (bound is null)
        {
            return otherwise;
        }

        long value = Bound(bound, 0);
        return Math.Clamp(value < 0 ? value + length : value, low, high);
    }

    private static long Bound(object? bound, long otherwise) => bound switch
    {
        null => otherwise,
        long number => number,
        bool flag => flag ? 1 : 0,
        BigInteger big => big.Sign < 0 ? long.MinValue / 2 : long.MaxValue / 2,
        Undefined undefined => (long)undefined.Fail(),
        _ => throw new ChatTemplateException("slice indices must be integers or None"),
    };

    private static bool TryItem(RenderBudget budget, object? value, object? key, out object? item)
    {
        item = null;
        if (value is TemplateDict dict)
        {
            return dict.TryGet(key, out item);
        }

        if (key is not (long or bool))
        {
            return false;
        }

        long place = key is bool flag ? (flag ? 1 : 0) : (long)key;
        object?[]? items = value switch
        {
            TemplateSequence { IsIndexable: true } sequence => sequence.Items,
            string text when CodePoints.HasSurrogates(text) => Iteration.ItemsOf(budget, text),
            _ => null,
        };
        int length = items?.Length ?? (value as string)?.Length ?? 0;
        place = place < 0 ? place + length : place;
        if (place < 0 || place >= length)
        {
            return false;
        }

        item = items is null ? ((string)value!)[(int)place].ToString() : items[place];
        return true;
    }
}
