using System.Globalization;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>Lets both sides work in turn until enough slices of each count.</summary>
internal sealed class PeerMeasurement
{
    private const int Repetitions = 3;
    private const int MaxAttempts = 3;

    private readonly PeersOptions _options;
    private readonly PeerResults _results;
    private readonly string _shape;
    private readonly string _weights;

    public PeerMeasurement(PeersOptions options, PeerResults results, string shape, string weights, string run)
    {
        _options = options;
        _results = results;
        _shape = shape;
        _weights = weights;
        Run = run;
    }

    public string Run { get; }

    /// <summary>Rounds over all contests; in each round both sides, and the other one first in the next.</summary>
    public async Task AlternateAsync(IReadOnlyList<PeerContest> contests)
    {
        foreach (PeerContest contest in contests)
        {
            // Not recorded: code is compiled, files are read.
            foreach (PeerSide side in contest.Sides)
            {
                await contest.Of(side)(side == PeerSide.Ours ? Repetitions : 1);
            }
        }

        Dictionary<(string Work, PeerSide Side), int> counted = [];
        for (int round = 0; round < _options.Rounds * MaxAttempts; round++)
        {
            foreach (PeerContest contest in round % 2 == 0 ? contests : contests.Reverse())
            {
                if (contest.Sides.All(side => counted.GetValueOrDefault((contest.Work, side)) >= _options.Rounds))
                {
                    continue;
                }

                foreach (PeerSide side in round % 2 == 0 ? contest.Sides : contest.Sides.Reverse())
                {
                    PeerSlice slice = await MeasureAsync(contest, side, round);
                    _results.Add(slice);
                    counted[(contest.Work, side)] = counted.GetValueOrDefault((contest.Work, side)) + (slice.Counts ? 1 : 0);
                }
            }
        }
    }

    private async Task<PeerSlice> MeasureAsync(PeerContest contest, PeerSide side, int round)
    {
        int[] processes = side == PeerSide.LlamaCpp && contest.TheirProcess is int process ? [process] : [];
        await ProcessorUse.WaitForQuietAsync(processes);
        ProcessorUse before = ProcessorUse.Read(processes);
        double[] samples = await contest.Of(side)(Repetitions);
        double others = ProcessorUse.Read(processes).OtherCoresSince(before);
        PeerSlice slice = new()
        {
            Shape = _shape,
            Weights = _weights,
            Work = contest.Work,
            Side = side,
            Round = round,
            TokensPerSecond = [.. samples.Select(sample => Math.Round(sample, 2))],
            OtherCores = Math.Round(others, 3),
            LoadAverage = Machine.LoadAverage(),
            At = DateTime.UtcNow,
            Run = Run,
        };
        Console.Error.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{_shape} {_weights} {contest.Work} {side}: {string.Join(' ', samples.Select(sample => sample.ToString("F1", CultureInfo.InvariantCulture)))} tokens/s, others {others:F2} cores"));
        return slice;
    }
}
