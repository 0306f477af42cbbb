using System.Globalization;
using System.Text;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Python's <c>'%s' % values</c>.</summary>
internal static class PrintfFormat
{
    private const int MaxWidth = 10_000;

    public static string Format(RenderBudget budget, string format, object? values)
    {
        StringBuilder text = new();
        Queue<object?> positional = new(values is TemplateSequence { Kind: SequenceKind.Tuple } tuple ? tuple.Items : [values]);
        // Python leaves a dictionary or a list that the format does not name alone.
        bool mayBeUnused = values is TemplateDict or TemplateSequence { Kind: SequenceKind.List };
        for (int at = 0; at < format.Length; at++)
        {
            int next = format.IndexOf('%', at);
            next = next < 0 ? format.Length : next;
            text.Append(format, at, next - at);
            if (next == format.Length)
            {
                break;
            }

            at = next + 1;
            budget.Step(1);
            text.Append(ReadField(budget, format, ref at, positional, values as TemplateDict));
        }

        if (positional.Count > 0 && !mayBeUnused)
        {
            throw new ChatTemplateException("not all arguments converted during string formatting");
        }

        return budget.Own(text.ToString());
    }

    private static string ReadField(RenderBudget budget, string format, ref int at, Queue<object?> positional, TemplateDict? mapping)
    {
        string? key = null;
        if (at < format.Length && format[at] == '(')
        {
            int end = format.IndexOf(')', at);
            key = end > 0 ? format[(at + 1)..end] : throw new ChatTemplateException("incomplete format key");
            at = end + 1;
        }

        int flagsStart = at;
        while (at < format.Length && format[at] is ('-' or '+' or ' ' or '0' or '#'))
        {
            at++;
        }

        string flags = format[flagsStart..at];
        int width = ReadNumber(format, ref at) ?? 0;
        int? precision = null;
        if (at < format.Length && format[at] == '.')
        {
            at++;
            precision = ReadNumber(format, ref at) ?? 0;
        }

        char type = at < format.Length ? format[at] : throw new ChatTemplateException("incomplete format");
        if (type == '%')
        {
            return "%";
        }

        object? value = Next(positional, mapping, key);
        bool isText = type is 's' or 'r';
        value = type == 'r' ? PythonText.Repr(budget, value) : isText ? PythonText.Str(budget, value) : value;
        bool isLeft = flags.Contains('-', StringComparison.Ordinal);
        bool isZero = flags.Contains('0', StringComparison.Ordinal) && !isLeft && !isText;
        char sign = flags.Contains('+', StringComparison.Ordinal) ? '+' : flags.Contains(' ', StringComparison.Ordinal) ? ' ' : '-';
        char align = isLeft ? '<' : isZero ? '=' : '>';
        return new FieldFormat(align, isZero ? '0' : ' ', sign, width, precision, false, isText ? 's' : type).Format(budget, value);
    }

    private static object? Next(Queue<object?> positional, TemplateDict? mapping, string? key)
    {
        if (key is not null)
        {
            return mapping is not null && mapping.TryGet(key, out object? named) ? named : throw new ChatTemplateException($"no key '{key}' to format");
        }

        return positional.TryDequeue(out object? value) ? value : throw new ChatTemplateException("not enough arguments for format string");
    }

    private static int? ReadNumber(string format, ref int at)
    {
        int start = at;
        while (at < format.Length && char.IsAsciiDigit(format[at]))
        {
            at++;
        }

        if (at == start)
        {
            return null;
        }

        return int.TryParse(format.AsSpan(start, at - start), CultureInfo.InvariantCulture, out int number) && number <= MaxWidth
            ? number
            : throw new ChatTemplateException($"a format is wider than {MaxWidth}");
    }
}
