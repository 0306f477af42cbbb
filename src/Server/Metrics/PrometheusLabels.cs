using System.Globalization;

namespace InferenceServer.Server.Metrics;

/// <summary>Writes tags as Prometheus labels (<c>a="1",b="x"</c>) without allocating; the text is also the series's key.</summary>
internal static class PrometheusLabels
{
    /// <summary>The value of every label of the series that takes the label sets over the limit.</summary>
    public const string Other = "other";

    private const int MaxTagsOnStack = 32;

    /// <summary>Writes the labels in the order of their names, so that the order of the tags makes no second series.</summary>
    /// <param name="tags">Tags without a value are left out; of two whose labels have one name the first is taken.</param>
    /// <param name="fold">Whether every value is <see cref="Other"/>.</param>
    /// <param name="space">Where the labels go.</param>
    /// <param name="length">How much of it they take.</param>
    /// <returns>False when the labels do not fit.</returns>
    public static bool TryFormat(ReadOnlySpan<KeyValuePair<string, object?>> tags, bool fold, Span<char> space, out int length)
    {
        Span<int> order = tags.Length <= MaxTagsOnStack ? stackalloc int[tags.Length] : new int[tags.Length];
        Sort(tags, order);
        Writer writer = new(space);
        int last = -1;
        foreach (int index in order)
        {
            (string name, object? value) = tags[index];
            if (value is null or "" || (last >= 0 && Compare(tags[last].Key, name) == 0))
            {
                continue;
            }

            if (last >= 0)
            {
                writer.Put(',');
            }

            last = index;
            PutName(ref writer, name);
            writer.Put('=');
            writer.Put('"');
            PutValue(ref writer, fold ? Other : value);
            writer.Put('"');
        }

        length = writer.Length;
        return !writer.IsOverrun;
    }

    /// <summary>Whether a key holds the label with that value.</summary>
    public static bool Contains(string labels, string name, string value)
    {
        char[] space = new char[name.Length + 1 + (2 * value.Length) + 3];
        TryFormat([new(name, value)], fold: false, space, out int length);
        ReadOnlySpan<char> pair = space.AsSpan(0, length);

        // Quotes inside values are escaped, so the pair cannot begin inside one.
        return length > 0
            && (labels.AsSpan().StartsWith(pair, StringComparison.Ordinal)
                || labels.AsSpan().Contains($",{pair}", StringComparison.Ordinal));
    }

    private static void Sort(ReadOnlySpan<KeyValuePair<string, object?>> tags, Span<int> order)
    {
        for (int i = 0; i < order.Length; i++)
        {
            // Insertion: tags are few, and equal names keep their order.
            int at = i;
            for (; at > 0 && Compare(tags[order[at - 1]].Key, tags[i].Key) > 0; at--)
            {
                order[at] = order[at - 1];
            }

            order[at] = i;
        }
    }

    /// <summary>Compares names as labels, so that <c>a.b</c> and <c>a_b</c> are one.</summary>
    private static int Compare(string left, string right)
    {
        for (int i = 0; i < left.Length && i < right.Length; i++)
        {
            int difference = PrometheusNames.LabelChar(left[i]) - PrometheusNames.LabelChar(right[i]);
            if (difference != 0)
            {
                return difference;
            }
        }

        return left.Length - right.Length;
    }

    private static void PutName(ref Writer writer, string name)
    {
        if (name.Length == 0 || char.IsAsciiDigit(name[0]))
        {
            writer.Put('_');
        }

        foreach (char c in name)
        {
            writer.Put(PrometheusNames.LabelChar(c));
        }
    }

    private static void PutValue(ref Writer writer, object value)
    {
        Span<char> scratch = stackalloc char[64];
        ReadOnlySpan<char> text = value switch
        {
            string s => s,
            true => "true",
            false => "false",
            ISpanFormattable f when f.TryFormat(scratch, out int written, default, CultureInfo.InvariantCulture) => scratch[..written],
            IFormattable f => f.ToString(null, CultureInfo.InvariantCulture),
            _ => value.ToString(),
        };
        foreach (char c in text)
        {
            if (c is '\\' or '"' or '\n')
            {
                writer.Put('\\');
            }

            writer.Put(c == '\n' ? 'n' : c);
        }
    }

    private ref struct Writer(Span<char> space)
    {
        private readonly Span<char> _space = space;

        public int Length { get; private set; }

        public bool IsOverrun { get; private set; }

        public void Put(char c)
        {
            if (Length == _space.Length)
            {
                IsOverrun = true;
                return;
            }

            _space[Length++] = c;
        }
    }
}
