using System.Globalization;
using System.Text;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Python's <c>json.dumps</c>, behind the filter <c>tojson</c>.</summary>
/// <param name="budget">What the rendering may use.</param>
/// <param name="ensureAscii">Whether everything beyond ASCII is escaped; chat templates say no.</param>
/// <param name="indent">What one level is indented by; null writes everything on one line.</param>
/// <param name="itemSeparator">What stands between items.</param>
/// <param name="keySeparator">What stands between a key and its value.</param>
/// <param name="sortKeys">Whether keys are written in their order instead of in that of insertion.</param>
internal sealed class JsonText(RenderBudget budget, bool ensureAscii, string? indent, string itemSeparator, string keySeparator, bool sortKeys)
{
    private readonly StringBuilder _text = new();

    public string Write(object? value)
    {
        Append(value, 0);
        return _text.ToString();
    }

    private void Append(object? value, int depth)
    {
        budget.CheckValueDepth(depth);
        budget.Step(4);
        int before = _text.Length;
        switch (value)
        {
            case null:
                _text.Append("null");
                break;
            case string text:
                AppendString(text);
                break;
            case TemplateSequence { Kind: SequenceKind.List or SequenceKind.Tuple } sequence:
                AppendList(sequence.Items, depth);
                return;
            case TemplateDict dict:
                AppendDict(dict, depth);
                return;
            default:
                _text.Append(ScalarText(value) ?? throw new ChatTemplateException($"Object of type {PythonTypes.NameOf(value)} is not JSON serializable"));
                break;
        }

        budget.Allocate(_text.Length - before + 1);
    }

    private void AppendList(object?[] items, int depth)
    {
        budget.Allocate(2);
        _text.Append('[');
        for (int i = 0; i < items.Length; i++)
        {
            AppendSeparator(i == 0, depth + 1);
            Append(items[i], depth + 1);
        }

        AppendEnd(items.Length, depth, ']');
    }

    private void AppendDict(TemplateDict dict, int depth)
    {
        budget.Allocate(2);
        IEnumerable<KeyValuePair<object?, object?>> entries = sortKeys
            ? dict.Entries.OrderBy(entry => entry.Key, Comparer<object?>.Create((a, b) => Comparison.Compare(budget, a, b, "<")))
            : dict.Entries;
        _text.Append('{');
        bool isFirst = true;
        foreach (KeyValuePair<object?, object?> entry in entries)
        {
            AppendSeparator(isFirst, depth + 1);
            AppendString(entry.Key as string ?? ScalarText(entry.Key) ?? "null");
            _text.Append(keySeparator);
            Append(entry.Value, depth + 1);
            isFirst = false;
        }

        AppendEnd(dict.Count, depth, '}');
    }

    private void AppendSeparator(bool isFirst, int depth)
    {
        _text.Append(isFirst ? "" : itemSeparator);
        AppendLine(depth);
    }

    private void AppendEnd(int count, int depth, char end)
    {
        if (count > 0)
        {
            AppendLine(depth);
        }

        _text.Append(end);
    }

    private void AppendLine(int depth)
    {
        if (indent is not null)
        {
            budget.Allocate(1 + ((long)indent.Length * depth));
            _text.Append('\n');
            for (int i = 0; i < depth; i++)
            {
                _text.Append(indent);
            }
        }
    }

    private static string? ScalarText(object? value) => value switch
    {
        bool flag => flag ? "true" : "false",
        double.NaN => "NaN",
        double.PositiveInfinity => "Infinity",
        double.NegativeInfinity => "-Infinity",
        not null when Numbers.IsNumber(value) => Numbers.ToText(value),
        _ => null,
    };

    private void AppendString(string text)
    {
        budget.Allocate(text.Length);
        _text.Append('"');
        foreach (char c in text)
        {
            switch (c)
            {
                case '"' or '\\':
                    _text.Append('\\').Append(c);
                    break;
                case '\n':
                    _text.Append("\\n");
                    break;
                case '\r':
                    _text.Append("\\r");
                    break;
                case '\t':
                    _text.Append("\\t");
                    break;
                case '\b':
                    _text.Append("\\b");
                    break;
                case '\f':
                    _text.Append("\\f");
                    break;
                case < ' ':
                case > '\u007f' when ensureAscii:
                    budget.Allocate(5);
                    _text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
                    break;
                default:
                    _text.Append(c);
                    break;
            }
        }

        _text.Append('"');
    }
}
