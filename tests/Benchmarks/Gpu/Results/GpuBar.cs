namespace InferenceServer.Benchmarks.Gpu.Results;

/// <summary>Something that a run on a large device must show.</summary>
/// <param name="Name">What it is about.</param>
/// <param name="Asked">The number asked for.</param>
/// <param name="AtMost">Whether less is better.</param>
/// <param name="Seen">The number measured; NaN where it was not.</param>
/// <param name="How">Which results it was made of.</param>
internal sealed record GpuBar(string Name, double Asked, bool AtMost, double Seen, string How)
{
    /// <summary>1 where exactly what is asked for was seen, above 1 where better; NaN where nothing was.</summary>
    public double Ratio => AtMost ? Asked / Seen : Seen / Asked;

    public string Verdict => double.IsNaN(Seen) ? "not measured" : Ratio >= 1 ? "reached" : "**missed**";
}
