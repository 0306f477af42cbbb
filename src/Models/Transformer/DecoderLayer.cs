using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>The parts of one decoder layer; what an architecture lacks is null.</summary>
public sealed record DecoderLayer : IDisposable
{
    public required Norm InputNorm { get; init; }

    /// <summary>Query, key and value projections in one matrix.</summary>
    public required Linear Qkv { get; init; }

    public HeadNorm? QueryNorm { get; init; }

    public HeadNorm? KeyNorm { get; init; }

    public required AttentionParameters Attention { get; init; }

    public required Linear Output { get; init; }

    /// <summary>On the attention's output, before the residual (Gemma 2).</summary>
    public Norm? PostAttentionNorm { get; init; }

    public required Norm FeedForwardNorm { get; init; }

    /// <summary>Gate and up projections in one matrix, or the only one without a gate.</summary>
    public required Linear Up { get; init; }

    public required Linear Down { get; init; }

    /// <summary>On the feed-forward's output, before the residual (Gemma 2).</summary>
    public Norm? PostFeedForwardNorm { get; init; }

    /// <summary>The layer's linear parts.</summary>
    public IEnumerable<Linear> Linears => [Qkv, Output, Up, Down];

    public void Dispose()
    {
        InputNorm.Dispose();
        QueryNorm?.Dispose();
        KeyNorm?.Dispose();
        PostAttentionNorm?.Dispose();
        FeedForwardNorm.Dispose();
        PostFeedForwardNorm?.Dispose();
        foreach (Linear linear in Linears)
        {
            linear.Dispose();
        }
    }
}
