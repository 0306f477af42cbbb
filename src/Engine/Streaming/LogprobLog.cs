using InferenceServer.Engine.Requests;

namespace InferenceServer.Engine.Streaming;

/// <summary>
/// The log-probabilities of a generation, written by the loop before it appends the token, read by the reader after it saw the token: the
/// token count orders the two. Kept in pages, so that a long limit costs nothing before it is used.
/// </summary>
internal sealed class LogprobLog
{
    private const int PageSize = 64;

    private readonly TokenLogprob[]?[] _pages;
    private readonly int _width;

    /// <param name="best">Best tokens beside the chosen one.</param>
    /// <param name="maxNewTokens">Most tokens.</param>
    public LogprobLog(int best, int maxNewTokens)
    {
        _width = 1 + best;
        _pages = new TokenLogprob[]?[(maxNewTokens + PageSize - 1) / PageSize];
    }

    /// <summary>Best tokens beside the chosen one.</summary>
    public int BestCount => _width - 1;

    /// <summary>The place of one new token: the chosen one's, then the best ones'.</summary>
    public Span<TokenLogprob> At(int index)
    {
        TokenLogprob[] page = _pages[index / PageSize] ??= new TokenLogprob[PageSize * _width];
        return page.AsSpan(index % PageSize * _width, _width);
    }

    public TokenLogprobs Read(int index)
    {
        Span<TokenLogprob> entry = At(index);
        return new TokenLogprobs(entry[0], entry[1..].ToArray());
    }
}
