using System.Globalization;
using System.Text;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Python's <c>str</c> and <c>repr</c>.</summary>
internal static class PythonText
{
    /// <summary>What a value prints as.</summary>
    public static string Str(RenderBudget budget, object? value) => value switch
    {
        string text => text,
        null => "None",
        Undefined => "",
        _ => Repr(budget, value),
    };

    public static string Repr(RenderBudget budget, object? value)
    {
        StringBuilder text = new();
        AppendRepr(budget, text, value, 0);
        return text.ToString();
    }

    /// <summary>White space as <c>str.isspace</c> has it: .NET's, and the four separators U+001C to U+001F.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\u001c' and <= '\u001f';

    public static string TrimEnd(string text)
    {
        int end = text.Length;
        while (end > 0 && IsSpace(text[end - 1]))
        {
            end--;
        }

        return text[..end];
    }

    public static string TrimStart(string text)
    {
        int start = 0;
        while (start < text.Length && IsSpace(text[start]))
        {
            start++;
        }

        return text[start..];
    }

    private static void AppendRepr(RenderBudget budget, StringBuilder text, object? value, int depth)
    {
        budget.CheckValueDepth(depth);
        budget.Step(4);
        int before = text.Length;
        switch (value)
        {
            case null:
                text.Append("None");
                break;
            case string quoted:
                AppendQuoted(budget, text, quoted);
                break;
            case TemplateSequence sequence:
                AppendSequence(budget, text, sequence, depth + 1);
                return;
            case TemplateDict dict:
                AppendDict(budget, text, dict, depth + 1);
                return;
            case Undefined:
                text.Append("Undefined");
                break;
            case LoopState loop:
                text.Append(CultureInfo.InvariantCulture, $"<LoopContext {loop.Index + 1}/{loop.Count}>");
                break;
            default:
                text.Append(Numbers.IsNumber(value) ? Numbers.ToText(value) : $"<{PythonTypes.NameOf(value)}>");
                break;
        }

        budget.Allocate(text.Length - before + 1);
    }

    private static void AppendSequence(RenderBudget budget, StringBuilder text, TemplateSequence sequence, int depth)
    {
        (string open, string close) = sequence.Kind switch
        {
            SequenceKind.Tuple => ("(", sequence.Items.Length == 1 ? ",)" : ")"),
            SequenceKind.DictKeys => ("dict_keys([", "])"),
            SequenceKind.DictValues => ("dict_values([", "])"),
            SequenceKind.DictItems => ("dict_items([", "])"),
            _ => ("[", "]"),
        };
        budget.Allocate(open.Length + close.Length);
        if (sequence.Text is not null)
        {
            text.Append(sequence.Text);
            return;
        }

        text.Append(open);
        for (int i = 0; i < sequence.Items.Length; i++)
        {
            text.Append(i == 0 ? "" : ", ");
            AppendRepr(budget, text, sequence.Items[i], depth);
        }

        text.Append(close);
    }

    private static void AppendDict(RenderBudget budget, StringBuilder text, TemplateDict dict, int depth)
    {
        budget.Allocate(2);
        text.Append('{');
        string separator = "";
        foreach (KeyValuePair<object?, object?> entry in dict.Entries)
        {
            text.Append(separator);
            AppendRepr(budget, text, entry.Key, depth);
            text.Append(": ");
            AppendRepr(budget, text, entry.Value, depth);
            separator = ", ";
        }

        text.Append('}');
    }

    private static void AppendQuoted(RenderBudget budget, StringBuilder text, string value)
    {
        budget.Scan(value.Length);
        char quote = value.Contains('\'', StringComparison.Ordinal) && !value.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        text.Append(quote);
        for (int i = 0; i < value.Length; i++)
        {
            char c = value[i];
            if (c == quote || c == '\\')
            {
                text.Append('\\').Append(c);
            }
            else if (c is >= ' ' and < '\u007f')
            {
                text.Append(c);
            }
            else
            {
                // Each escape is a small text of its own on the way.
                budget.Allocate(16);
                i += AppendOther(text, value, i);
            }
        }

        text.Append(quote);
    }

    /// <summary>Appends one code point that is not printable ASCII; returns how many more units it took.</summary>
    private static int AppendOther(StringBuilder text, string value, int at)
    {
        bool isPair = char.IsHighSurrogate(value[at]) && at + 1 < value.Length && char.IsLowSurrogate(value[at + 1]);
        int point = isPair ? char.ConvertToUtf32(value[at], value[at + 1]) : value[at];
        UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(point);
        bool isHidden = category is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
            or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator;
        text.Append(point switch
        {
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            _ when !isHidden => value.Substring(at, isPair ? 2 : 1),
            < 0x100 => $"\\x{point:x2}",
            < 0x10000 => $"\\u{point:x4}",
            _ => $"\\U{point:x8}",
        });
        return isPair ? 1 : 0;
    }
}
