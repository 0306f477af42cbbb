using System.Text;
using InferenceServer.Models.Tokenization.Normalization;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads <c>normalizer</c> of tokenizer.json.</summary>
internal static class NormalizerReader
{
    /// <summary>The normalizer, or null when the text stays as it is.</summary>
    public static Normalizer? Read(JsonField field)
    {
        List<Normalizer> steps = [];
        Add(field, steps);
        return steps.Count switch
        {
            0 => null,
            1 => steps[0],
            _ => new NormalizerSequence(steps),
        };
    }

    private static void Add(JsonField field, List<Normalizer> steps)
    {
        if (field.IsNull)
        {
            return;
        }

        string type = field["type"].AsString();
        if (type == "Sequence")
        {
            foreach (JsonField item in field["normalizers"].AsItems())
            {
                Add(item, steps);
            }

            return;
        }

        steps.Add(type switch
        {
            "NFC" => Unicode(NormalizationForm.FormC),
            "NFD" => Unicode(NormalizationForm.FormD),
            "NFKC" => Unicode(NormalizationForm.FormKC),
            "NFKD" => Unicode(NormalizationForm.FormKD),
            "Lowercase" => new LowercaseNormalizer(),
            "Prepend" => new PrependNormalizer(field["prepend"].AsString()),
            "Replace" => new ReplaceNormalizer(PatternReader.ReadReplacement(field)),
            "Strip" => new StripNormalizer(field["strip_left"].AsBool(absent: true), field["strip_right"].AsBool(absent: true)),
            "StripAccents" => new StripAccentsNormalizer(),
            _ => throw field["type"].Error($"the normalizer '{type}' is not supported"),
        });

        Normalizer Unicode(NormalizationForm form)
        {
            return UnicodeNormalizer.IsAvailable
                ? new UnicodeNormalizer(form)
                : throw field["type"].Error($"'{type}' cannot be done in this process: it runs with InvariantGlobalization");
        }
    }
}
