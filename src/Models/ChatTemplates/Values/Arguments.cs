using System.Numerics;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>The arguments of one call: as written, or, after <see cref="Bind"/>, in the order of the parameters.</summary>
internal sealed class Arguments(object?[] positional, KeyValuePair<string, object?>[] named)
{
    private static readonly object s_absent = new();

    public static Arguments None { get; } = new([], []);

    public object?[] Positional => positional;

    public KeyValuePair<string, object?>[] Named => named;

    /// <summary>Puts every argument into the place of its parameter.</summary>
    /// <exception cref="ChatTemplateException">There are too many, or one has no parameter of its name.</exception>
    public Arguments Bind(string function, string[] parameters)
    {
        if (positional.Length > parameters.Length)
        {
            throw new ChatTemplateException($"{function}() takes at most {parameters.Length} arguments, {positional.Length} given");
        }

        object?[] bound = new object?[parameters.Length];
        Array.Fill(bound, s_absent);
        positional.CopyTo(bound, 0);
        foreach (KeyValuePair<string, object?> one in named)
        {
            int place = Array.IndexOf(parameters, one.Key);
            if (place < 0)
            {
                throw new ChatTemplateException($"{function}() got an unexpected keyword argument '{one.Key}'");
            }

            if (place < positional.Length)
            {
                throw new ChatTemplateException($"{function}() got multiple values for argument '{one.Key}'");
            }

            bound[place] = one.Value;
        }

        return new Arguments(bound, []);
    }

    public bool Has(int place) => place < positional.Length && !ReferenceEquals(positional[place], s_absent);

    public object? Get(int place, object? otherwise = null) => Has(place) ? positional[place] : otherwise;

    public object? Required(int place, string function) =>
        Has(place) ? positional[place] : throw new ChatTemplateException($"{function}() misses argument {place + 1}");

    /// <summary>A text; none and an absent argument give <paramref name="otherwise"/>.</summary>
    public string? Text(int place, string function, string? otherwise = null) => Get(place) switch
    {
        null => otherwise,
        string text => text,
        object other => throw new ChatTemplateException($"argument {place + 1} of {function}() must be str, not {PythonTypes.NameOf(other)}"),
    };

    /// <summary>An integer; none and an absent argument give <paramref name="otherwise"/>.</summary>
    public long Integer(int place, string function, long otherwise) => Get(place) switch
    {
        null => otherwise,
        long number => number,
        bool flag => flag ? 1 : 0,
        BigInteger big => big.Sign < 0 ? long.MinValue : long.MaxValue,
        object other => throw new ChatTemplateException($"argument {place + 1} of {function}() must be int, not {PythonTypes.NameOf(other)}"),
    };

    public bool Flag(int place, bool otherwise = false) => Has(place) ? Comparison.IsTrue(positional[place]) : otherwise;
}
