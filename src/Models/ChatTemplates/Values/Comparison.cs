using System.Numerics;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Truth, equality and order as Python has them.</summary>
internal static class Comparison
{
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long number => number != 0,
        double number => number != 0,
        BigInteger number => !number.IsZero,
        string text => text.Length > 0,
        TemplateSequence sequence => sequence.Items.Length > 0,
        TemplateDict dict => dict.Count > 0,
        _ => true,
    };

    public static bool AreEqual(RenderBudget budget, object? left, object? right, int depth = 0)
    {
        budget.CheckValueDepth(depth);
        budget.Step(1);
        if (left is Undefined || right is Undefined)
        {
            return left is Undefined && right is Undefined;
        }

        if (ReferenceEquals(left, right))
        {
            return true;
        }

        switch (left, right)
        {
            case (null, _) or (_, null):
                return false;
            case (string a, string b):
                budget.Scan(Math.Min(a.Length, b.Length));
                return string.Equals(a, b, StringComparison.Ordinal);
            case (TemplateSequence a, TemplateSequence b):
                return a.Kind == b.Kind && ItemsAreEqual(budget, a.Items, b.Items, depth + 1);
            case (TemplateDict a, TemplateDict b):
                return EntriesAreEqual(budget, a, b, depth + 1);
            default:
                return Numbers.TryCompare(left, right, out int order) && order == 0;
        }
    }

    /// <summary>The order of two values, or false when Python has none between their types.</summary>
    public static bool TryCompare(RenderBudget budget, object? left, object? right, out int order, int depth = 0)
    {
        budget.CheckValueDepth(depth);
        budget.Step(1);
        switch (left, right)
        {
            case (string a, string b):
                budget.Scan(Math.Min(a.Length, b.Length));
                order = CodePoints.Compare(a, b);
                return true;
            case (TemplateSequence a, TemplateSequence b) when a.Kind == b.Kind && a.Kind is (SequenceKind.List or SequenceKind.Tuple):
                return TryCompareItems(budget, a.Items, b.Items, out order, depth + 1);
            default:
                return Numbers.TryCompare(left, right, out order);
        }
    }

    public static int Compare(RenderBudget budget, object? left, object? right, string symbol)
    {
        (left as Undefined ?? right as Undefined)?.Fail();
        return TryCompare(budget, left, right, out int order)
            ? order
            : throw new ChatTemplateException(
                $"'{symbol}' not supported between instances of '{PythonTypes.NameOf(left)}' and '{PythonTypes.NameOf(right)}'");
    }

    /// <summary><c>&lt;</c>, <c>&lt;=</c>, <c>&gt;</c>, <c>&gt;=</c>.</summary>
    public static bool Ordered(RenderBudget budget, string symbol, object? left, object? right)
    {
        int order = Compare(budget, left, right, symbol);
        bool isNaN = left is double.NaN || right is double.NaN;
        return !isNaN && symbol switch
        {
            "<" => order < 0,
            "<=" => order <= 0,
            ">" => order > 0,
            _ => order >= 0,
        };
    }

    public static bool Contains(RenderBudget budget, object? container, object? item)
    {
        switch (container)
        {
            case string text when item is string part:
                budget.Search(text, part);
                return text.Contains(part, StringComparison.Ordinal);
            case string:
                (item as Undefined)?.Fail();
                throw new ChatTemplateException($"'in <string>' requires string as left operand, not {PythonTypes.NameOf(item)}");
            case TemplateDict when item is TemplateDict or TemplateSequence { Kind: SequenceKind.List }:
                throw new ChatTemplateException($"unhashable type: '{PythonTypes.NameOf(item)}'");
            case TemplateDict dict:
                budget.Scan((item as string)?.Length ?? 0);
                return dict.TryGet(item, out _);
            default:
                return Iteration.ItemsOf(budget, container).Any(one => AreEqual(budget, one, item));
        }
    }

    private static bool ItemsAreEqual(RenderBudget budget, object?[] left, object?[] right, int depth)
    {
        bool equal = left.Length == right.Length;
        for (int i = 0; equal && i < left.Length; i++)
        {
            equal = AreEqual(budget, left[i], right[i], depth);
        }

        return equal;
    }

    private static bool EntriesAreEqual(RenderBudget budget, TemplateDict left, TemplateDict right, int depth)
    {
        return left.Count == right.Count && left.Entries.All(
            entry => right.TryGet(entry.Key, out object? other) && AreEqual(budget, entry.Value, other, depth));
    }

    private static bool TryCompareItems(RenderBudget budget, object?[] left, object?[] right, out int order, int depth)
    {
        for (int i = 0; i < Math.Min(left.Length, right.Length); i++)
        {
            if (!AreEqual(budget, left[i], right[i], depth))
            {
                return TryCompare(budget, left[i], right[i], out order, depth);
            }
        }

        order = left.Length.CompareTo(right.Length);
        return true;
    }
}
