namespace InferenceServer.Benchmarks.Peers;

/// <summary>A bar for each row, as long as ours is times llama.cpp's speed.</summary>
internal static class PeersChart
{
    public static string Draw(IReadOnlyList<PeerRow> rows) => RatioChart.Draw(
        "Times llama.cpp's tokens per second (best of alternated slices)",
        [.. rows.Select(row => ($"{row.Shape}, {row.Weights}, {row.Work}", row.Ratio, row.Bar))]);
}
