using System.Globalization;
using System.Text;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Filters that give a text.</summary>
internal static class TextFilters
{
    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["tojson"] = new(ToJson, "ensure_ascii", "indent", "separators", "sort_keys"),
        ["trim"] = new((c, v, a) => StringMethods.Strip(c.Budget.Own(Text(c, v)), a.Text(0, "trim"), start: true, end: true), "chars"),
        ["string"] = new((c, v, _) => Text(c, v)),
        ["safe"] = new((c, v, _) => Text(c, v)),
        ["lower"] = new((c, v, _) => CaseMapping.Lower(c.Budget.Own(Text(c, v)))),
        ["upper"] = new((c, v, _) => CaseMapping.Upper(c.Budget.Own(Text(c, v)))),
        ["capitalize"] = new((c, v, _) => CaseMapping.Capitalize(c.Budget.Own(Text(c, v)))),
        ["title"] = new((c, v, _) => Title(c.Budget.Own(Text(c, v)))),
        ["replace"] = new((c, v, a) =>
            StringMethods.Replace(c, Text(c, v), Text(c, a.Required(0, "replace")), Text(c, a.Required(1, "replace")), a.Integer(2, "replace", -1)), "old", "new", "count"),
        ["join"] = new(Join, "d", "attribute"),
        ["indent"] = new((c, v, a) => Indent(c, Given(v, "indent"), a), "width", "first", "blank"),
        ["center"] = new((c, v, a) => StringMethods.All["center"].Body(c, Text(c, v), a.Has(0) ? a : new Arguments([80L], [])), "width"),
        ["escape"] = new((c, v, _) => Escape(c, Text(c, v))),
        ["striptags"] = new((c, v, _) => StripTags(c.Budget.Own(Text(c, v)))),
        ["truncate"] = new((c, v, a) => Truncate(c, Given(v, "truncate"), a), "length", "killwords", "end", "leeway"),
        ["urlencode"] = new((c, v, _) => UrlEncode(c, Text(c, v))),
        ["wordcount"] = new((c, v, _) => CountWords(c, Text(c, v))),
        ["format"] = new((c, v, a) => PrintfFormat.Format(c.Budget, Text(c, v), FormatValues(c, a)), null),
        ["pprint"] = new((c, v, _) => PythonText.Repr(c.Budget, v)),
    };

    private static string Text(RenderContext context, object? value) => PythonText.Str(context.Budget, value);

    private static string Given(object? value, string filter)
    {
        (value as Undefined)?.Fail();
        return value as string ?? throw new ChatTemplateException($"{filter} needs a str, not {PythonTypes.NameOf(value)}");
    }

    private static string ToJson(RenderContext context, object? value, Arguments arguments)
    {
        string? indent = arguments.Get(1) switch
        {
            null => null,
            string text => text,
            _ => new string(' ', (int)Math.Clamp(arguments.Integer(1, "tojson", 0), 0, 1000)),
        };
        (string items, string keys) = (indent is null ? ", " : ",", ": ");
        if (arguments.Get(2) is TemplateSequence { Items: [string item, string key] })
        {
            (items, keys) = (item, key);
        }

        return new JsonText(context.Budget, arguments.Flag(0), indent, items, keys, arguments.Flag(3)).Write(value);
    }

    private static string Join(RenderContext context, object? value, Arguments arguments)
    {
        object?[] items = Iteration.ItemsOf(context.Budget, value);
        if (arguments.Get(1) is object attribute)
        {
            items = [.. items.Select(item => SelectionFilters.Follow(context, item, attribute))];
        }

        string separator = Text(context, arguments.Get(0, ""));
        StringBuilder text = new();
        for (int i = 0; i < items.Length; i++)
        {
            string next = Text(context, items[i]);
            context.Budget.Allocate(separator.Length + next.Length);
            text.Append(i == 0 ? "" : separator).Append(next);
        }

        return text.ToString();
    }

    /// <summary>Jinja's own title, which is not <c>str.title</c>: words begin after white space, a hyphen or an opening bracket.</summary>
    private static string Title(string text)
    {
        StringBuilder title = new(text.Length);
        bool isWordStart = true;
        foreach (Rune rune in text.EnumerateRunes())
        {
            string one = rune.ToString();
            bool separates = rune.IsBmp && (PythonText.IsSpace((char)rune.Value) || "-({[<".Contains((char)rune.Value, StringComparison.Ordinal));
            title.Append(isWordStart ? CaseMapping.Upper(one) : CaseMapping.Lower(one));
            isWordStart = separates;
        }

        return title.ToString();
    }

    private static string Indent(RenderContext context, string text, Arguments arguments)
    {
        string indent = arguments.Get(0) as string ?? new string(' ', (int)Math.Clamp(arguments.Integer(0, "indent", 4), 0, 1000));
        List<string> lines = TextSplitting.Lines(text + "\n", keepEnds: false);
        context.Budget.Allocate(text.Length + ((long)indent.Length * lines.Count));
        bool blank = arguments.Flag(2);
        IEnumerable<string> indented = lines.Skip(1).Select(line => blank || line.Length > 0 ? indent + line : line);
        return (arguments.Flag(1) ? indent : "") + string.Join('\n', indented.Prepend(lines[0]));
    }

    private static string Escape(RenderContext context, string text)
    {
        context.Budget.Allocate(text.Length + (4L * text.AsSpan().CountAny("&<>'\"")));
        StringBuilder escaped = new(text.Length);
        foreach (char c in text)
        {
            escaped.Append(c switch { '&' => "&amp;", '<' => "&lt;", '>' => "&gt;", '\'' => "&#39;", '"' => "&#34;", _ => null } ?? c.ToString());
        }

        return escaped.ToString();
    }

    /// <summary>Without comments and tags, and with runs of white space as one blank.</summary>
    private static string StripTags(string text)
    {
        text = RemoveBetween(RemoveBetween(text, "<!--", "-->"), "<", ">");
        return string.Join(' ', TextSplitting.Split(text, null, -1))
            .Replace("&lt;", "<", StringComparison.Ordinal).Replace("&gt;", ">", StringComparison.Ordinal)
            .Replace("&#34;", "\"", StringComparison.Ordinal).Replace("&quot;", "\"", StringComparison.Ordinal)
            .Replace("&#39;", "'", StringComparison.Ordinal).Replace("&amp;", "&", StringComparison.Ordinal);
    }

    private static string RemoveBetween(string text, string open, string close)
    {
        StringBuilder kept = new();
        int at = 0;
        while (at < text.Length)
        {
            int start = text.IndexOf(open, at, StringComparison.Ordinal);
            int end = start < 0 ? -1 : text.IndexOf(close, start, StringComparison.Ordinal);
            if (end < 0)
            {
                break;
            }

            kept.Append(text, at, start - at);
            at = end + close.Length;
        }

        return kept.Append(text, at, text.Length - at).ToString();
    }

    private static string UrlEncode(RenderContext context, string text)
    {
        // A character takes at most three bytes, each written as three characters.
        context.Budget.Allocate(9L * text.Length);
        return Uri.EscapeDataString(text).Replace("%2F", "/", StringComparison.Ordinal);
    }

    private static string Truncate(RenderContext context, string text, Arguments arguments)
    {
        string end = arguments.Text(2, "truncate") ?? "...";
        long length = arguments.Integer(0, "truncate", 255);
        context.Budget.AllocateItems(text.Length);
        string[] points = CodePoints.Split(text);
        if (points.Length <= length + arguments.Integer(3, "truncate", 5))
        {
            return text;
        }

        long kept = length - CodePoints.Count(end);
        if (kept < 0)
        {
            throw new ChatTemplateException($"expected length >= {CodePoints.Count(end)}, got {length}");
        }

        string head = string.Concat(points.Take((int)kept));
        int space = arguments.Flag(1) ? -1 : head.LastIndexOf(' ');
        return (space < 0 ? head : head[..space]) + end;
    }

    private static long CountWords(RenderContext context, string text)
    {
        context.Budget.Scan(text.Length);
        long words = 0;
        bool isInWord = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool isWord = Rune.IsLetterOrDigit(rune) || Rune.GetUnicodeCategory(rune) is UnicodeCategory.OtherNumber || rune.Value == '_';
            words += isWord && !isInWord ? 1 : 0;
            isInWord = isWord;
        }

        return words;
    }

    private static object FormatValues(RenderContext context, Arguments arguments)
    {
        if (arguments.Named.Length == 0)
        {
            return new TemplateSequence(arguments.Positional, SequenceKind.Tuple);
        }

        TemplateDict named = new();
        context.Budget.AllocateEntries(arguments.Named.Length);
        foreach (KeyValuePair<string, object?> one in arguments.Named)
        {
            named.Set(one.Key, one.Value);
        }

        return named;
    }
}
