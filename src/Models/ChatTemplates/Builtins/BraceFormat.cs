using System.Globalization;
using System.Text;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Python's <c>'{} {name}'.format(...)</c> without attributes, items and nested fields, which a template must not reach this way.</summary>
internal static class BraceFormat
{
    private const int MaxWidth = 10_000;

    public static string Format(RenderContext context, string format, Arguments arguments)
    {
        StringBuilder text = new();
        int next = 0;
        for (int at = 0; at < format.Length; at++)
        {
            char c = format[at];
            if (c is not ('{' or '}'))
            {
                text.Append(c);
                continue;
            }

            if (at + 1 < format.Length && format[at + 1] == c)
            {
                text.Append(c);
                at++;
                continue;
            }

            int end = c == '{' ? format.IndexOf('}', at) : -1;
            if (end < 0)
            {
                throw new ChatTemplateException($"single '{c}' encountered in format string");
            }

            text.Append(Field(context, format[(at + 1)..end], arguments, ref next));
            at = end;
        }

        return context.Budget.Own(text.ToString());
    }

    private static string Field(RenderContext context, string field, Arguments arguments, ref int next)
    {
        int colon = field.IndexOf(':');
        string head = colon < 0 ? field : field[..colon];
        bool isRepr = head.EndsWith("!r", StringComparison.Ordinal);
        bool isStr = head.EndsWith("!s", StringComparison.Ordinal);
        string name = isRepr || isStr ? head[..^2] : head;
        object? value = Find(name.Length == 0 ? (next++).ToString(CultureInfo.InvariantCulture) : name, arguments);
        value = isRepr ? PythonText.Repr(context.Budget, value) : isStr ? PythonText.Str(context.Budget, value) : value;
        return Parse(colon < 0 ? "" : field[(colon + 1)..]).Format(context.Budget, value);
    }

    private static object? Find(string name, Arguments arguments)
    {
        if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int place))
        {
            return place < arguments.Positional.Length
                ? arguments.Positional[place]
                : throw new ChatTemplateException($"no argument {place} to format");
        }

        foreach (KeyValuePair<string, object?> named in arguments.Named)
        {
            if (named.Key == name)
            {
                return named.Value;
            }
        }

        throw new ChatTemplateException($"no argument '{name}' to format");
    }

    private static FieldFormat Parse(string text)
    {
        int at = 0;
        char fill = ' ';
        char? align = null;
        if (text.Length > 1 && text[1] is ('<' or '>' or '^' or '='))
        {
            (fill, align, at) = (text[0], text[1], 2);
        }
        else if (text.Length > 0 && text[0] is ('<' or '>' or '^' or '='))
        {
            (align, at) = (text[0], 1);
        }

        char sign = at < text.Length && text[at] is ('+' or '-' or ' ') ? text[at++] : '-';
        if (at < text.Length && text[at] == '0' && align is null)
        {
            (fill, align) = ('0', '=');
        }

        int width = ReadNumber(text, ref at) ?? 0;
        bool groups = at < text.Length && text[at] == ',';
        at += groups ? 1 : 0;
        int? precision = null;
        if (at < text.Length && text[at] == '.')
        {
            at++;
            precision = ReadNumber(text, ref at);
        }

        char? type = at < text.Length ? text[at++] : null;
        return at == text.Length
            ? new FieldFormat(align, fill, sign, width, precision, groups, type)
            : throw new ChatTemplateException($"invalid format specifier '{text}'");
    }

    private static int? ReadNumber(string text, ref int at)
    {
        int start = at;
        while (at < text.Length && char.IsAsciiDigit(text[at]))
        {
            at++;
        }

        if (at == start)
        {
            return null;
        }

        return int.TryParse(text.AsSpan(start, at - start), CultureInfo.InvariantCulture, out int number) && number <= MaxWidth
            ? number
            : throw new ChatTemplateException($"a format is wider than {MaxWidth}");
    }
}
