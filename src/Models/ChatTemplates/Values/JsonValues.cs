using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Turns JSON into the values that templates work on.</summary>
internal static class JsonValues
{
    private const int MaxDepth = 128;

    public static object? From(JsonElement element)
    {
        try
        {
            return Convert(element, 0);
        }
        catch (InvalidOperationException error)
        {
            throw new ChatTemplateException("a text of the input holds half a surrogate pair", error);
        }
    }

    private static object? Convert(JsonElement element, int depth)
    {
        if (depth > MaxDepth)
        {
            throw new ChatTemplateException($"the input is nested more than {MaxDepth} deep");
        }

        return element.ValueKind switch
        {
            JsonValueKind.Object => DictFrom(element, depth + 1),
            JsonValueKind.Array => TemplateSequence.List([.. element.EnumerateArray().Select(item => Convert(item, depth + 1))]),
            JsonValueKind.String => element.GetString(),
            JsonValueKind.Number => NumberFrom(element.GetRawText()),
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => null,
        };
    }

    private static TemplateDict DictFrom(JsonElement element, int depth)
    {
        TemplateDict dict = new();
        foreach (JsonProperty property in element.EnumerateObject())
        {
            dict.Set(property.Name, Convert(property.Value, depth));
        }

        return dict;
    }

    /// <summary>As Python reads JSON: a number without point and exponent is an int of any size, every other a float.</summary>
    private static object NumberFrom(string text)
    {
        if (text.AsSpan().IndexOfAny('.', 'e', 'E') >= 0)
        {
            return double.Parse(text, CultureInfo.InvariantCulture);
        }

        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number))
        {
            return number;
        }

        return text.Length <= 4300
            ? Numbers.Normalize(BigInteger.Parse(text, CultureInfo.InvariantCulture))
            : throw new ChatTemplateException($"a number of the input has {text.Length} digits, more than 4300");
    }
}
