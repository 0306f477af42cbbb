using System.Text;
using InferenceServer.Models.Tokenization.Patterns;
using InferenceServer.Models.Tokenization.PreTokenization;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads <c>pre_tokenizer</c> of tokenizer.json as a flat list of steps.</summary>
internal static class PreTokenizerReader
{
    /// <param name="field">The field.</param>
    /// <param name="mapsBytes">Whether the model has to write the bytes of each piece in the byte alphabet as the last step.</param>
    public static List<PreTokenizer> Read(JsonField field, out bool mapsBytes)
    {
        List<PreTokenizer> steps = [];
        Add(field, steps);
        mapsBytes = steps.Count > 0 && steps[^1] is ByteMappingPreTokenizer;
        if (mapsBytes)
        {
            steps.RemoveAt(steps.Count - 1);
        }

        return steps;
    }

    private static void Add(JsonField field, List<PreTokenizer> steps)
    {
        if (field.IsNull)
        {
            return;
        }

        string type = field["type"].AsString();
        switch (type)
        {
            case "Sequence":
                foreach (JsonField item in field["pretokenizers"].AsItems())
                {
                    Add(item, steps);
                }

                break;
            case "Split":
                steps.Add(new SplitPreTokenizer(
                    PatternReader.Read(field["pattern"]), Behavior(field["behavior"]), field["invert"].AsBool(absent: false)));
                break;
            case "ByteLevel":
                AddByteLevel(field, steps);
                break;
            case "Metaspace":
                steps.Add(Metaspace(field));
                break;
            case "Digits":
                bool alone = field["individual_digits"].AsBool(absent: false);
                steps.Add(new SplitPreTokenizer(
                    new CategoryPattern(Rune.IsNumber), alone ? SplitBehavior.Isolated : SplitBehavior.Contiguous, invert: false));
                break;
            case "Punctuation":
                JsonField behavior = field["behavior"];
                steps.Add(new SplitPreTokenizer(
                    new CategoryPattern(IsPunctuation), behavior.IsNull ? SplitBehavior.Isolated : Behavior(behavior), invert: false));
                break;
            case "WhitespaceSplit":
                steps.Add(new SplitPreTokenizer(new CategoryPattern(Rune.IsWhiteSpace), SplitBehavior.Removed, invert: false));
                break;
            default:
                throw field["type"].Error($"the pre-tokenizer '{type}' is not supported");
        }
    }

    private static void AddByteLevel(JsonField field, List<PreTokenizer> steps)
    {
        if (field["add_prefix_space"].AsBool(absent: true))
        {
            steps.Add(new PrefixSpacePreTokenizer());
        }

        if (field["use_regex"].AsBool(absent: true))
        {
            steps.Add(new SplitPreTokenizer(new Gpt2Scanner(), SplitBehavior.Isolated, invert: false));
        }

        steps.Add(new ByteMappingPreTokenizer());
    }

    private static MetaspacePreTokenizer Metaspace(JsonField field)
    {
        MetaspaceScheme scheme = MetaspaceScheme.Read(field);
        return new MetaspacePreTokenizer(scheme.Replacement, scheme.Prepends, scheme.FirstOnly, field["split"].AsBool(absent: true));
    }

    private static SplitBehavior Behavior(JsonField field)
    {
        return field.AsString() switch
        {
            "Removed" => SplitBehavior.Removed,
            "Isolated" => SplitBehavior.Isolated,
            "Contiguous" => SplitBehavior.Contiguous,
            "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
            "MergedWithNext" => SplitBehavior.MergedWithNext,
            string other => throw field.Error($"'{other}' is not a behavior"),
        };
    }

    private static bool IsPunctuation(Rune rune)
    {
        // All of ASCII's, of which Unicode counts some as symbols.
        return Rune.IsPunctuation(rune) || (rune.IsAscii && Rune.IsSymbol(rune));
    }
}
