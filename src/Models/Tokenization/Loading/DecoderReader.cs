using InferenceServer.Models.Tokenization.Decoding;
using InferenceServer.Models.Tokenization.Patterns;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads <c>decoder</c> of tokenizer.json.</summary>
internal static class DecoderReader
{
    public static TextDecoder Read(JsonField field)
    {
        TextDecoder decoder = new();
        if (field.IsNull)
        {
            decoder.Add((next, _) => new JoinStage(next), needsWholeTokens: false, fuses: false);
        }
        else
        {
            Add(field, decoder);
        }

        return decoder;
    }

    private static void Add(JsonField field, TextDecoder decoder)
    {
        string type = field["type"].AsString();
        switch (type)
        {
            case "Sequence":
                foreach (JsonField item in field["decoders"].AsItems())
                {
                    Add(item, decoder);
                }

                break;
            case "ByteLevel":
                decoder.Add((next, _) => new ByteLevelStage(next), needsWholeTokens: true, fuses: true);
                break;
            case "ByteFallback":
                decoder.Add((next, streaming) => new ByteFallbackStage(streaming, next), needsWholeTokens: true, fuses: false);
                break;
            case "Fuse":
                decoder.Add((next, _) => new FuseStage(next), needsWholeTokens: false, fuses: true);
                break;
            case "Replace":
                Replacement replacement = PatternReader.ReadReplacement(field);
                decoder.Add((next, _) => new ReplaceStage(replacement, next), needsWholeTokens: !replacement.WorksOnParts, fuses: false);
                break;
            case "Metaspace":
                MetaspaceScheme scheme = MetaspaceScheme.Read(field);
                decoder.Add(
                    (next, _) => new MetaspaceStage(scheme.Replacement, scheme.Prepends, next), needsWholeTokens: false, fuses: false);
                break;
            case "Strip":
                AddStrip(field, decoder);
                break;
            default:
                throw field["type"].Error($"the decoder '{type}' is not supported");
        }
    }

    private static void AddStrip(JsonField field, TextDecoder decoder)
    {
        string content = field["content"].AsString();
        if (content.Length != 1)
        {
            throw field["content"].Error($"expected one character, found '{content}'");
        }

        int start = field["start"].AsCount();
        int stop = field["stop"].AsCount();
        decoder.Add((next, _) => new StripStage(content[0], start, stop, next), needsWholeTokens: false, fuses: false);
    }
}
