using System.Diagnostics;
using System.Globalization;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>Lets both sides work in turn until enough slices of each count.</summary>
internal sealed class PeerMeasurement
{
    private const int MaxRepetitions = 3;
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
        Dictionary<string, int> repetitions = [];
        foreach (PeerContest contest in contests)
        {
            repetitions[contest.Work] = await WarmUpAsync(contest);
        }

        Dictionary<(string Work, PeerSide Side), int> counted = [];
        long start = Stopwatch.GetTimestamp();
        for (int round = 0; round < _options.Rounds * MaxAttempts && (round == 0 || Stopwatch.GetElapsedTime(start) < _options.Limit); round++)
        {
            foreach (PeerContest contest in round % 2 == 0 ? contests : contests.Reverse())
            {
                if (contest.Sides.All(side => counted.GetValueOrDefault((contest.Work, side)) >= _options.Rounds))
                {
                    continue;
                }

                foreach (PeerSide side in round % 2 == 0 ? contest.Sides : contest.Sides.Reverse())
                {
                    PeerSlice slice = await MeasureAsync(contest, side, round, repetitions[contest.Work]);
                    _results.Add(slice);
                    counted[(contest.Work, side)] = counted.GetValueOrDefault((contest.Work, side)) + (slice.Counts ? 1 : 0);
                }
            }
        }
    }

    /// <summary>Not recorded: code is compiled, files are read.</summary>
    /// <returns>Repetitions in a slice, the same for all sides: about a second of ours.</returns>
    private static async Task<int> WarmUpAsync(PeerContest contest)
    {
        foreach (PeerSide side in contest.Sides)
        {
            await contest.Of(side)(1);
        }

        await contest.Ours(1);
        long start = Stopwatch.GetTimestamp();
        await contest.Ours(1);
        return Math.Clamp((int)(1 / Stopwatch.GetElapsedTime(start).TotalSeconds), 1, MaxRepetitions);
    }

    private async Task<PeerSlice> MeasureAsync(PeerContest contest, PeerSide side, int round, int repetitions)
    {
        int[] processes = side == PeerSide.LlamaCpp && contest.TheirProcess is int process ? [process] : [];
        await ProcessorUse.WaitForQuietAsync(processes);
        ProcessorUse before = ProcessorUse.Read(processes);
        double[] samples = await contest.Of(side)(repetitions);
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
