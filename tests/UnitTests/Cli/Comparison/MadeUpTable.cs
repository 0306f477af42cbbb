using InferenceServer.Cli.Charts;
using InferenceServer.Cli.Comparison;
using InferenceServer.Client;

namespace InferenceServer.UnitTests.Cli.Comparison;

/// <summary>Rows for the rules, made up: what is not said is as LoRA's.</summary>
internal sealed class MadeUpTable
{
    public const int Rank = 8;

    private readonly List<TunedContender> _rows = [];
    private readonly List<Trial> _repeats = [];

    /// <summary>A row whose loss falls on a straight line from 2 at step 0 to its loss at step 100, seen every 10 steps.</summary>
    public MadeUpTable Row(
        string method,
        double loss,
        int rank = Rank,
        long parameters = 10_000,
        long peak = 1_000_000,
        long baseBytes = 5_000_000,
        int largestRank = 0,
        int reachedAt = 100)
    {
        TrainingMethods.TryGet(method, out TrainingMethod? found);
        _rows.Add(new TunedContender(
            new Contender(found!, rank, 0),
            Measured($"{method} r{rank}", loss, reachedAt) with
            {
                TrainableParameters = parameters,
                PeakBytes = peak,
                BaseBytes = baseBytes,
                LargestRank = largestRank,
            }));
        return this;
    }

    public MadeUpTable Failed(string method, int rank = Rank)
    {
        TrainingMethods.TryGet(method, out TrainingMethod? found);
        _rows.Add(new TunedContender(
            new Contender(found!, rank, 0),
            new Trial { Contender = method, Rate = 1, Job = "j", Error = "the loss of step 3 is NaN" }));
        return this;
    }

    public MadeUpTable Repeat(double loss, int reachedAt = 100)
    {
        _repeats.Add(Measured("again", loss, reachedAt));
        return this;
    }

    public ComparisonTable Build(double? targetLoss = null) => new(_rows, _repeats, Rank, targetLoss);

    private static Trial Measured(string name, double loss, int reachedAt) => new()
    {
        Contender = name,
        Rate = 1e-3,
        Job = "j",
        Steps = 100,
        TrainingSeconds = 50,
        AdapterBytes = 40_000,
        HeldOut = [.. Enumerable.Range(1, 10).Select(
            i => new ChartPoint(10 * i, 10 * i >= reachedAt ? loss : 2 - ((2 - loss) * 10 * i / reachedAt)))],
    };
}
