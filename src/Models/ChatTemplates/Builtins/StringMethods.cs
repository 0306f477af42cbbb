using System.Text;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>The methods of texts.</summary>
internal static class StringMethods
{
    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["strip"] = new((c, v, a) => Strip(c.Budget.Own((string)v!), a.Text(0, "strip"), start: true, end: true), "chars"),
        ["lstrip"] = new((c, v, a) => Strip(c.Budget.Own((string)v!), a.Text(0, "lstrip"), start: true, end: false), "chars"),
        ["rstrip"] = new((c, v, a) => Strip(c.Budget.Own((string)v!), a.Text(0, "rstrip"), start: false, end: true), "chars"),
        ["split"] = new((c, v, a) =>
            ListOf(c, v, TextSplitting.Split(Searched(c, v, a), a.Text(0, "split"), a.Integer(1, "split", -1))), "sep", "maxsplit"),
        ["rsplit"] = new((c, v, a) =>
            ListOf(c, v, TextSplitting.SplitFromEnd(Searched(c, v, a), a.Text(0, "rsplit"), a.Integer(1, "rsplit", -1))), "sep", "maxsplit"),
        ["splitlines"] = new((c, v, a) => ListOf(c, v, TextSplitting.Lines((string)v!, a.Flag(0))), "keepends"),
        ["partition"] = new((c, v, a) =>
            TextSplitting.Partition(c.Budget.Own(Searched(c, v, a)), Needed(a, 0, "partition"), fromEnd: false), "sep"),
        ["rpartition"] = new((c, v, a) =>
            TextSplitting.Partition(c.Budget.Own(Searched(c, v, a)), Needed(a, 0, "rpartition"), fromEnd: true), "sep"),
        ["upper"] = new((c, v, _) => CaseMapping.Upper(c.Budget.Own((string)v!))),
        ["lower"] = new((c, v, _) => CaseMapping.Lower(c.Budget.Own((string)v!))),
        ["casefold"] = new((c, v, _) => CaseMapping.Lower(c.Budget.Own((string)v!)).Replace("ß", "ss", StringComparison.Ordinal)),
        ["title"] = new((c, v, _) => CaseMapping.Title(c.Budget.Own((string)v!))),
        ["capitalize"] = new((c, v, _) => CaseMapping.Capitalize(c.Budget.Own((string)v!))),
        ["replace"] = new((c, v, a) =>
            Replace(c, (string)v!, Needed(a, 0, "replace"), Needed(a, 1, "replace"), a.Integer(2, "replace", -1)), "old", "new", "count"),
        ["startswith"] = new((c, v, a) => HasAffix(c, (string)v!, a.Required(0, "startswith"), atStart: true), "prefix"),
        ["endswith"] = new((c, v, a) => HasAffix(c, (string)v!, a.Required(0, "endswith"), atStart: false), "suffix"),
        ["removeprefix"] = new((c, v, a) =>
            Needed(a, 0, "removeprefix") is string x && ((string)v!).StartsWith(x, StringComparison.Ordinal) ? c.Budget.Own(((string)v!)[x.Length..]) : v, "prefix"),
        ["removesuffix"] = new((c, v, a) =>
            Needed(a, 0, "removesuffix") is string x && ((string)v!).EndsWith(x, StringComparison.Ordinal) ? c.Budget.Own(((string)v!)[..^x.Length]) : v, "suffix"),
        ["find"] = new((c, v, a) => Find(c, v, a, "find", fromEnd: false), "sub", "start", "end"),
        ["rfind"] = new((c, v, a) => Find(c, v, a, "rfind", fromEnd: true), "sub", "start", "end"),
        ["index"] = new((c, v, a) => Found(Find(c, v, a, "index", fromEnd: false)), "sub", "start", "end"),
        ["rindex"] = new((c, v, a) => Found(Find(c, v, a, "rindex", fromEnd: true)), "sub", "start", "end"),
        ["count"] = new((c, v, a) => Count(c, (string)v!, Needed(a, 0, "count")), "sub"),
        ["join"] = new((c, v, a) => Join(c, (string)v!, a.Required(0, "join")), "iterable"),
        ["format"] = new((c, v, a) => BraceFormat.Format(c, (string)v!, a), null),
        ["center"] = new((c, v, a) => Pad(c, (string)v!, a, "center"), "width", "fillchar"),
        ["ljust"] = new((c, v, a) => Pad(c, (string)v!, a, "ljust"), "width", "fillchar"),
        ["rjust"] = new((c, v, a) => Pad(c, (string)v!, a, "rjust"), "width", "fillchar"),
        ["isdigit"] = new((c, v, _) => IsEvery(Scanned(c, v), rune => Rune.IsDigit(rune))),
        ["isdecimal"] = new((c, v, _) => IsEvery(Scanned(c, v), rune => Rune.IsDigit(rune))),
        ["isnumeric"] = new((c, v, _) => IsEvery(Scanned(c, v), rune => Rune.IsNumber(rune))),
        ["isalpha"] = new((c, v, _) => IsEvery(Scanned(c, v), rune => Rune.IsLetter(rune))),
        ["isalnum"] = new((c, v, _) => IsEvery(Scanned(c, v), rune => Rune.IsLetter(rune) || Rune.IsNumber(rune))),
        ["isspace"] = new((c, v, _) => IsEvery(Scanned(c, v), rune => rune.IsBmp && PythonText.IsSpace((char)rune.Value))),
        ["isupper"] = new((c, v, _) => CaseMapping.IsAll(Scanned(c, v), upper: true)),
        ["islower"] = new((c, v, _) => CaseMapping.IsAll(Scanned(c, v), upper: false)),
    };

    public static string Strip(string text, string? chars, bool start, bool end)
    {
        if (chars is null)
        {
            text = end ? PythonText.TrimEnd(text) : text;
            return start ? PythonText.TrimStart(text) : text;
        }

        if (CodePoints.HasSurrogates(chars))
        {
            HashSet<string> points = [.. CodePoints.Split(chars)];
            string[] parts = CodePoints.Split(text);
            int from = start ? Array.FindIndex(parts, part => !points.Contains(part)) : 0;
            int to = end ? Array.FindLastIndex(parts, part => !points.Contains(part)) : parts.Length - 1;
            return from < 0 || to < from ? "" : string.Concat(parts[from..(to + 1)]);
        }

        char[] units = chars.ToCharArray();
        text = start && units.Length > 0 ? text.TrimStart(units) : text;
        return end && units.Length > 0 ? text.TrimEnd(units) : text;
    }

    public static string Replace(RenderContext context, string text, string old, string replacement, long limit)
    {
        long found = old.Length == 0 ? CodePoints.Count(text) + 1 : Count(context, text, old);
        long times = limit < 0 ? found : Math.Min(found, limit);
        context.Budget.Allocate(text.Length + (times * Math.Max(0, replacement.Length - old.Length)));
        if (times == 0)
        {
            return text;
        }

        if (times == found && old.Length > 0)
        {
            return text.Replace(old, replacement, StringComparison.Ordinal);
        }

        if (old.Length > 0)
        {
            return string.Join(replacement, TextSplitting.Split(text, old, times));
        }

        // An empty text is found before every code point and at the end.
        string[] points = CodePoints.Split(text);
        int covered = (int)Math.Min(times, points.Length);
        return replacement + string.Join(replacement, points.Take(covered))
            + (times > points.Length ? replacement : "") + string.Concat(points.Skip(covered));
    }

    public static string Join(RenderContext context, string separator, object? iterable)
    {
        object?[] items = Iteration.ItemsOf(context.Budget, iterable);
        long length = 0;
        foreach (object? item in items)
        {
            length += item is string text
                ? text.Length + (long)separator.Length
                : throw new ChatTemplateException($"sequence item: expected str instance, {PythonTypes.NameOf(item)} found");
        }

        context.Budget.Allocate(length);
        return string.Join(separator, items.Cast<string>());
    }

    private static string Scanned(RenderContext context, object? value)
    {
        context.Budget.Scan(((string)value!).Length);
        return (string)value;
    }

    private static string Searched(RenderContext context, object? value, Arguments arguments)
    {
        context.Budget.Search((string)value!, arguments.Get(0) as string ?? "");
        return (string)value!;
    }

    private static string Needed(Arguments arguments, int place, string method) =>
        arguments.Text(place, method) ?? throw new ChatTemplateException($"{method}() needs a str as argument {place + 1}");

    private static TemplateSequence ListOf(RenderContext context, object? text, List<string> parts)
    {
        context.Budget.Allocate(((string)text!).Length);
        context.Budget.AllocateItems(parts.Count);
        return TemplateSequence.List([.. parts]);
    }

    private static bool HasAffix(RenderContext context, string text, object? affix, bool atStart)
    {
        switch (affix)
        {
            case string one:
                context.Budget.Scan(one.Length);
                return atStart ? text.StartsWith(one, StringComparison.Ordinal) : text.EndsWith(one, StringComparison.Ordinal);
            case TemplateSequence { Kind: SequenceKind.Tuple } several:
                context.Budget.Step(several.Items.Length);
                return several.Items.All(item => item is string) && several.Items.Any(item => HasAffix(context, text, item, atStart));
            default:
                throw new ChatTemplateException(
                    $"{(atStart ? "startswith" : "endswith")} first arg must be str or a tuple of str, not {PythonTypes.NameOf(affix)}");
        }
    }

    private static long Find(RenderContext context, object? value, Arguments arguments, string method, bool fromEnd)
    {
        string text = (string)value!;
        string part = Needed(arguments, 0, method);
        context.Budget.Search(text, part);
        int skipped = 0;
        if (arguments.Has(1))
        {
            long length = CodePoints.Count(text);
            long from = arguments.Integer(1, method, 0);
            skipped = (int)Math.Clamp(from < 0 ? from + length : from, 0, length);
            text = (string)Subscript.Slice(context, text, arguments.Get(1), arguments.Get(2), null)!;
        }

        int at = fromEnd ? text.LastIndexOf(part, StringComparison.Ordinal) : text.IndexOf(part, StringComparison.Ordinal);
        return at < 0 ? -1 : skipped + CodePoints.PositionOf(text, at);
    }

    private static long Found(long position) => position >= 0 ? position : throw new ChatTemplateException("substring not found");

    private static long Count(RenderContext context, string text, string part)
    {
        context.Budget.Search(text, part);
        return part.Length == 0 ? CodePoints.Count(text) + 1 : text.AsSpan().Count(part);
    }

    private static string Pad(RenderContext context, string text, Arguments arguments, string method)
    {
        context.Budget.Scan(text.Length);
        long missing = arguments.Integer(0, method, 0) - CodePoints.Count(text);
        string fill = arguments.Text(1, method) ?? " ";
        if (missing <= 0)
        {
            return text;
        }

        context.Budget.Allocate(text.Length + missing);
        // Python's center: the odd one goes left only when the width is odd as well.
        long left = method switch { "ljust" => 0, "rjust" => missing, _ => (missing / 2) + (missing & arguments.Integer(0, method, 0) & 1) };
        return Fill(fill, left) + text + Fill(fill, missing - left);
    }

    private static string Fill(string fill, long count) => fill.Length == 1
        ? new string(fill[0], (int)count)
        : throw new ChatTemplateException("The fill character must be exactly one character long");

    private static bool IsEvery(string text, Func<Rune, bool> holds) => text.Length > 0 && text.EnumerateRunes().All(holds);
}
