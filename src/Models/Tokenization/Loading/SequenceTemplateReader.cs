using InferenceServer.Models.Tokenization.Bpe;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads <c>post_processor</c> of tokenizer.json: which ids go around those of the text.</summary>
internal static class SequenceTemplateReader
{
    public static SequenceTemplate Read(JsonField field, Vocabulary vocabulary)
    {
        List<int> before = [];
        List<int> after = [];
        Add(field, vocabulary, before, after);
        return new SequenceTemplate([.. before], [.. after]);
    }

    private static void Add(JsonField field, Vocabulary vocabulary, List<int> before, List<int> after)
    {
        if (field.IsNull)
        {
            return;
        }

        string type = field["type"].AsString();
        switch (type)
        {
            case "Sequence":
                foreach (JsonField item in field["processors"].AsItems())
                {
                    Add(item, vocabulary, before, after);
                }

                break;
            case "ByteLevel":
                // It trims offsets, which are not kept here.
                break;
            case "TemplateProcessing":
                AddTemplate(field, vocabulary, before, after);
                break;
            default:
                throw field["type"].Error($"the post-processor '{type}' is not supported");
        }
    }

    private static void AddTemplate(JsonField field, Vocabulary vocabulary, List<int> before, List<int> after)
    {
        List<int> ownBefore = [];
        List<int> ownAfter = [];
        int sequences = 0;
        foreach (JsonField item in field["single"].AsItems())
        {
            if (!item["Sequence"].IsNull)
            {
                sequences++;
                continue;
            }

            string name = item["SpecialToken"]["id"].AsString();
            foreach (JsonField id in field["special_tokens"][name]["ids"].AsItems())
            {
                if (!vocabulary.TryGetToken(id.AsCount(), out _))
                {
                    throw id.Error($"{id.AsCount()} is the id of no token");
                }

                (sequences == 0 ? ownBefore : ownAfter).Add(id.AsCount());
            }
        }

        if (sequences != 1)
        {
            throw field["single"].Error($"expected the sequence once, found it {sequences} times");
        }

        // A later template goes around what the earlier ones made.
        before.InsertRange(0, ownBefore);
        after.AddRange(ownAfter);
    }
}
