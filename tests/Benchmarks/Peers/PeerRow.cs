namespace InferenceServer.Benchmarks.Peers;

/// <summary>Both sides in one kind of work, over all slices that count.</summary>
internal sealed record PeerRow
{
    private readonly double[] _ours;
    private readonly double[] _theirs;
    private readonly double[] _roundRatios;
    private readonly Dictionary<(string Run, int Round), double> _ourRounds;

    /// <param name="slices">Of one shape, format and work.</param>
    public PeerRow(IReadOnlyList<PeerSlice> slices)
    {
        Shape = slices[0].Shape;
        Weights = slices[0].Weights;
        Work = slices[0].Work;
        PeerSlice[] counted = [.. slices.Where(slice => slice.Counts)];
        Slices = counted.Length;
        Dropped = slices.Count - counted.Length;
        OtherCores = counted.Length == 0 ? 0 : counted.Max(slice => slice.OtherCores);
        _ours = Samples(counted, PeerSide.Ours);
        _theirs = Samples(counted, PeerSide.LlamaCpp);
        _ourRounds = counted.Where(slice => slice.Side == PeerSide.Ours)
            .ToDictionary(slice => (slice.Run, slice.Round), slice => Statistics.Median(slice.TokensPerSecond));
        Loads = [.. slices.Select(slice => slice.LoadAverage.Split(' ')[0])];
        MemoryBest = Best(Samples(counted, PeerSide.Memory));
        _roundRatios = [.. counted.GroupBy(slice => (slice.Run, slice.Round))
            .Select(round => (Ours: Samples(round, PeerSide.Ours), Theirs: Samples(round, PeerSide.LlamaCpp)))
            .Where(round => round.Ours.Length > 0 && round.Theirs.Length > 0)
            .Select(round => round.Ours.Max() / round.Theirs.Max())];
    }

    public string Shape { get; }

    public string Weights { get; }

    public string Work { get; }

    /// <summary>Slices that count, of both sides together.</summary>
    public int Slices { get; }

    /// <summary>Slices in which others computed too.</summary>
    public int Dropped { get; }

    /// <summary>The most that others used in a slice that counts.</summary>
    public double OtherCores { get; }

    /// <summary>Best of ours in tokens per second; NaN when nothing counts.</summary>
    public double OursBest => Best(_ours);

    public double OursMedian => Statistics.Median(_ours);

    public double TheirsBest => Best(_theirs);

    public double TheirsMedian => Statistics.Median(_theirs);

    /// <summary>Tokens per second at the memory's pace; NaN where that was not measured.</summary>
    public double MemoryBest { get; }

    /// <summary>Best over best.</summary>
    public double Ratio => OursBest / TheirsBest;

    /// <summary>Median of the ratios of rounds in which both sides count.</summary>
    public double RoundRatio => Statistics.Median(_roundRatios);

    /// <summary>Load averages of a minute, with our own threads in them, in all slices.</summary>
    public IReadOnlyList<string> Loads { get; }

    public double? Bar => PeerWork.Bar(Work, Weights);

    /// <summary>A row for each kind of work, in the order of shapes, formats and works as they came.</summary>
    public static PeerRow[] Group(IEnumerable<PeerSlice> slices) =>
        [.. slices.GroupBy(slice => (slice.Shape, slice.Weights, slice.Work)).Select(group => new PeerRow([.. group]))];

    /// <summary>Median over the rounds that both have of our tokens per second over our own in other work.</summary>
    public double OursOver(PeerRow other) => Statistics.Median(
        _ourRounds.Where(round => other._ourRounds.ContainsKey(round.Key)).Select(round => round.Value / other._ourRounds[round.Key]));

    private static double Best(double[] samples) => samples.Length == 0 ? double.NaN : samples.Max();

    private static double[] Samples(IEnumerable<PeerSlice> slices, PeerSide side) =>
        [.. slices.Where(slice => slice.Side == side).SelectMany(slice => slice.TokensPerSecond)];
}
