using System.Globalization;
using InferenceServer.Cli.Jobs;

namespace InferenceServer.Cli.Comparison;

/// <summary>Runs all trials of a comparison that its state does not have yet.</summary>
/// <param name="runner">Does a trial.</param>
/// <param name="state">What is done.</param>
/// <param name="tell">Takes a line about each trial.</param>
internal sealed class ComparisonRun(ITrialRunner runner, ComparisonState state, Action<string> tell)
{
    // Beyond the grid, where its best rate is its last.
    private const int Extensions = 2;

    /// <summary>Tunes every contender, then repeats the reference with other seeds.</summary>
    /// <param name="contenders">The rows.</param>
    /// <param name="rates">Rates for LoRA; other methods multiply them by their factor.</param>
    /// <param name="reference">The contender that others are compared with; null for none.</param>
    /// <param name="repeats">How many other seeds.</param>
    /// <param name="cancellationToken">Interrupts.</param>
    /// <returns>The best trial of each contender (a failed one where none succeeded), and those of the other seeds.</returns>
    public async Task<(IReadOnlyList<TunedContender> Tuned, IReadOnlyList<Trial> Repeats)> RunAsync(
        IReadOnlyList<Contender> contenders,
        IReadOnlyList<double> rates,
        Contender? reference,
        int repeats,
        CancellationToken cancellationToken)
    {
        List<TunedContender> tuned = [];
        foreach (Contender contender in contenders)
        {
            tuned.Add(new TunedContender(contender, await TuneAsync(contender, rates, cancellationToken)));
        }

        List<Trial> repeated = [];
        if (tuned.Find(row => row.Contender == reference) is { Best.Succeeded: true } known)
        {
            for (int offset = 1; offset <= repeats; offset++)
            {
                repeated.Add(await TryAsync(known.Contender with { SeedOffset = offset }, known.Best.Rate, cancellationToken));
            }
        }

        return (tuned, repeated);
    }

    private async Task<Trial> TuneAsync(Contender contender, IReadOnlyList<double> rates, CancellationToken cancellationToken)
    {
        double[] grid = [.. rates.Select(rate => RateSearch.Rounded(rate * contender.Method.RateFactor)).Order()];
        Dictionary<double, Trial> trials = [];
        while (RateSearch.Next(grid, trials.ToDictionary(pair => pair.Key, pair => pair.Value.BestLoss), Extensions) is { } rate)
        {
            trials.Add(rate, await TryAsync(contender, rate, cancellationToken));
        }

        return trials.Values.Where(trial => trial.Succeeded).MinBy(trial => trial.BestLoss) ?? trials.Values.First();
    }

    private async Task<Trial> TryAsync(Contender contender, double rate, CancellationToken cancellationToken)
    {
        string name = contender.Name;
        if (state.Find(name, rate) is { } known)
        {
            return known;
        }

        Trial trial = await runner.RunAsync(
            contender, rate, state.RunningJob(name, rate), job => state.Began(name, rate, job), cancellationToken);
        state.Ended(trial);
        string at = string.Create(CultureInfo.InvariantCulture, $"{name} at {rate:0.###E+0}");
        tell(trial.Succeeded
            ? string.Create(
                CultureInfo.InvariantCulture,
                $"{at}: held-out loss {JobText.Loss(trial.BestLoss)}, {trial.Steps} steps in {trial.TrainingSeconds:0.#} s")
            : $"{at}: failed: {trial.Error}");
        return trial;
    }
}
