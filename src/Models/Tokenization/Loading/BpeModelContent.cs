namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>What <c>model</c> of tokenizer.json holds.</summary>
/// <param name="Tokens">Token to id.</param>
/// <param name="Pairs">The ids that merge, the pair of rank i at index i (see <see cref="Bpe.PairRanks.Key"/>).</param>
/// <param name="MergedIds">The id that merge i makes.</param>
/// <param name="UnknownToken">The token for characters not in the vocabulary.</param>
/// <param name="FuseUnknown">Whether neighbouring unknown characters become one token.</param>
/// <param name="ByteFallback">Whether such characters become byte tokens.</param>
/// <param name="IgnoreMerges">Whether a piece that is a token as a whole is taken as it is.</param>
internal sealed record BpeModelContent(
    Dictionary<string, int> Tokens,
    List<ulong> Pairs,
    int[] MergedIds,
    string? UnknownToken,
    bool FuseUnknown,
    bool ByteFallback,
    bool IgnoreMerges);
