using InferenceServer.Models.Tokenization.Bpe;
using InferenceServer.Models.Tokenization.Decoding;
using InferenceServer.Models.Tokenization.Loading;
using InferenceServer.Models.Tokenization.Normalization;
using InferenceServer.Models.Tokenization.PreTokenization;

namespace InferenceServer.Models.Tokenization;

/// <summary>
/// Text to token ids and back, as a Hugging Face tokenizer.json says: byte-level BPE and sentencepiece-style BPE with byte fallback.
/// Immutable; any number of threads may use it at once.
/// </summary>
public sealed class Tokenizer
{
    /// <summary>The name of the file with the vocabulary inside a model folder.</summary>
    public const string FileName = "tokenizer.json";

    /// <summary>Larger files are refused; the largest in use have 33 MB.</summary>
    private const long MaxFileBytes = 512L << 20;

    private readonly Vocabulary _vocabulary;
    private readonly HashSet<int> _specialIds;
    private readonly TextEncoder _encoder;
    private readonly SequenceTemplate _template;
    private readonly TextDecoder _decoder;

    private Tokenizer(TokenizerFile file, TokenizerSettings settings, string fileName)
    {
        List<AddedToken> added = AddedTokensReader.Read(file["added_tokens"]);
        _vocabulary = new Vocabulary(file.Model.Tokens, added, fileName);
        _specialIds = [.. added.Where(token => token.IsSpecial).Select(token => token.Id)];
        Normalizer? normalizer = NormalizerReader.Read(file["normalizer"]);
        List<PreTokenizer> preTokenizers = PreTokenizerReader.Read(file["pre_tokenizer"], out bool mapsBytes);
        _decoder = DecoderReader.Read(file["decoder"]);
        UnknownId = FindUnknown(file.Model.UnknownToken, fileName) ?? FindOptional(settings.UnknownToken);
        BpeOptions options = new(
            file.Model.UnknownToken is null ? null : UnknownId,
            file.Model.FuseUnknown,
            file.Model.ByteFallback,
            file.Model.IgnoreMerges,
            mapsBytes);
        if (WordCutPreTokenizer.For(_vocabulary, file.Model.MergedIds, options) is WordCutPreTokenizer wordCut)
        {
            preTokenizers.Add(wordCut);
        }

        BpeModel model = new(_vocabulary, new BpeMerger(new PairRanks(file.Model.Pairs), file.Model.MergedIds), options);
        _encoder = new TextEncoder(added, normalizer, preTokenizers, model);
        BeginningOfSentenceId = FindRequired(settings.BeginningToken, "bos_token");
        EndOfSentenceId = FindRequired(settings.EndToken, "eos_token");
        PaddingId = FindOptional(settings.PaddingToken);
        CleansUpSpaces = settings.CleansUpSpaces;
        _template = Template(SequenceTemplateReader.Read(file["post_processor"], _vocabulary), settings);
    }

    /// <summary>The number of tokens, added ones included. Ids may have holes, and the model's logits may be padded beyond.</summary>
    public int VocabularySize => _vocabulary.Count;

    /// <summary>The <c>bos_token</c> of tokenizer_config.json, if it names one.</summary>
    public int? BeginningOfSentenceId { get; }

    /// <summary>The <c>eos_token</c> of tokenizer_config.json, if it names one; a model may stop at others too.</summary>
    public int? EndOfSentenceId { get; }

    /// <summary>The token for text that the vocabulary cannot express, if there is one.</summary>
    public int? UnknownId { get; }

    /// <summary>The <c>pad_token</c> of tokenizer_config.json, if it names one that the vocabulary has.</summary>
    public int? PaddingId { get; }

    /// <summary>
    /// Whether tokenizer_config.json asks for <c>clean_up_tokenization_spaces</c>. Decoding does not do it unless told to: it is not
    /// the inverse of encoding, and a stream cannot do it.
    /// </summary>
    public bool CleansUpSpaces { get; }

    /// <summary>The ids that decoding leaves out when special tokens are skipped.</summary>
    public IReadOnlySet<int> SpecialIds => _specialIds;

    /// <summary>Loads tokenizer.json of a model folder, and tokenizer_config.json where there is one.</summary>
    /// <exception cref="FileNotFoundException">The folder has no tokenizer.json; not every model has.</exception>
    /// <exception cref="TokenizerFormatException">One of the files is malformed or asks for something unsupported.</exception>
    public static Tokenizer FromFolder(string folder)
    {
        string settingsPath = Path.Combine(folder, TokenizerSettings.FileName);
        byte[] tokenizer = ReadFile(Path.Combine(folder, FileName));
        return FromJson(tokenizer, File.Exists(settingsPath) ? ReadFile(settingsPath) : default(ReadOnlySpan<byte>));
    }

    /// <summary>Builds a tokenizer from the content of the files.</summary>
    /// <param name="tokenizerJson">tokenizer.json, UTF-8.</param>
    /// <param name="configJson">tokenizer_config.json, UTF-8; empty when there is none.</param>
    /// <exception cref="TokenizerFormatException">One of the two is malformed or asks for something unsupported.</exception>
    public static Tokenizer FromJson(ReadOnlySpan<byte> tokenizerJson, ReadOnlySpan<byte> configJson = default)
    {
        TokenizerSettings settings = configJson.IsEmpty ? new TokenizerSettings() : TokenizerSettings.Read(configJson);
        return new Tokenizer(TokenizerFile.Read(tokenizerJson, FileName), settings, FileName);
    }

    /// <summary>The ids of a text. Added tokens inside the text, special ones too, are recognised.</summary>
    /// <param name="text">The text; a surrogate without its other half counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">
    /// Put the special tokens around it that the model expects (often a beginning token). A rendered chat template has them already.
    /// </param>
    public IReadOnlyList<int> EncodeToIds(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<int> ids = new(16 + (text.Length / 3));
        ids.AddRange(addSpecialTokens ? _template.Before : []);
        _encoder.Encode(text, ids);
        ids.AddRange(addSpecialTokens ? _template.After : []);
        return ids;
    }

    /// <summary>How many ids <see cref="EncodeToIds"/> gives.</summary>
    public int CountTokens(string text, bool addSpecialTokens = true)
    {
        return EncodeToIds(text, addSpecialTokens).Count;
    }

    /// <summary>The text of some ids. Unknown ids are left out; bytes that are not UTF-8 become U+FFFD.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="skipSpecialTokens">Leave special tokens out.</param>
    /// <param name="cleanUpSpaces">Remove the spaces before English punctuation (see <see cref="CleansUpSpaces"/>).</param>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false, bool cleanUpSpaces = false)
    {
        ArgumentNullException.ThrowIfNull(ids);
        TextSink sink = new();
        DecodeStage stages = StartDecoding(sink, streaming: false);
        foreach (int id in ids)
        {
            PushToken(id, skipSpecialTokens, stages);
        }

        stages.Finish();
        return cleanUpSpaces ? SpaceCleanup.Apply(sink.Take()) : sink.Take();
    }

    /// <summary>The token of an id as the vocabulary writes it, or null for an unknown id.</summary>
    public string? IdToToken(int id)
    {
        return _vocabulary.TryGetToken(id, out string? token) ? token : null;
    }

    /// <summary>The id of a token as the vocabulary writes it, or null when there is no such token.</summary>
    public int? TokenToId(string token)
    {
        return _vocabulary.TryGetId(token, out int id) ? id : null;
    }

    /// <summary>Whether decoding leaves the id out when special tokens are skipped.</summary>
    public bool IsSpecial(int id)
    {
        return _specialIds.Contains(id);
    }

    internal DecodeStage StartDecoding(TextSink sink, bool streaming)
    {
        return _decoder.Start(sink, streaming);
    }

    internal void PushToken(int id, bool skipSpecialTokens, DecodeStage stages)
    {
        if (_vocabulary.TryGetToken(id, out string? token) && !(skipSpecialTokens && _specialIds.Contains(id)))
        {
            stages.Push(token, startsToken: true);
        }
    }

    private static byte[] ReadFile(string path)
    {
        long length = new FileInfo(path).Length;
        return length <= MaxFileBytes
            ? File.ReadAllBytes(path)
            : throw new TokenizerFormatException(Path.GetFileName(path), "document", $"{length} bytes exceed the limit of {MaxFileBytes}");
    }

    private int? FindUnknown(string? token, string file)
    {
        return token is null
            ? null
            : FindOptional(token) ?? throw new TokenizerFormatException(file, "model.unk_token", $"'{token}' is not in the vocabulary");
    }

    private int? FindRequired(string? token, string field)
    {
        return token is null
            ? null
            : FindOptional(token) ?? throw new TokenizerFormatException(TokenizerSettings.FileName, field, $"'{token}' is not in the vocabulary");
    }

    private int? FindOptional(string? token)
    {
        return token is null ? null : TokenToId(token);
    }

    private SequenceTemplate Template(SequenceTemplate template, TokenizerSettings settings)
    {
        if (settings.AddsBeginning is bool addsBeginning)
        {
            template = BeginningOfSentenceId is int id ? template.WithBeginning(id, addsBeginning) : template;
        }

        if (settings.AddsEnd is bool addsEnd)
        {
            template = EndOfSentenceId is int id ? template.WithEnd(id, addsEnd) : template;
        }

        return template;
    }
}
