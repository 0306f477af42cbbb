using System.Globalization;

namespace InferenceServer.Cli.Comparison;

/// <summary>
/// Finds a good learning rate: a grid, then further in the direction of its end while the best one is the last there. All from the same
/// start, so that the lowest held-out loss wins.
/// </summary>
internal static class RateSearch
{
    /// <summary>The next rate to try; null when the search is done.</summary>
    /// <param name="grid">The grid, ascending.</param>
    /// <param name="losses">Best held-out loss by rate tried; not a number where the job failed.</param>
    /// <param name="extensions">Most rates beyond the grid.</param>
    public static double? Next(IReadOnlyList<double> grid, IReadOnlyDictionary<double, double> losses, int extensions)
    {
        foreach (double rate in grid)
        {
            if (!losses.ContainsKey(rate))
            {
                return rate;
            }
        }

        double[] tried = [.. losses.Keys.Order()];
        double[] good = [.. tried.Where(rate => double.IsFinite(losses[rate]))];
        if (grid.Count < 2 || tried.Length >= grid.Count + extensions)
        {
            return null;
        }

        if (good.Length == 0)
        {
            // All diverged: only lower can help.
            return Beyond(tried[0], grid[0] / grid[1]);
        }

        double best = good.MinBy(rate => losses[rate]);
        return best == tried[0] ? Beyond(best, grid[0] / grid[1])
            : best == tried[^1] ? Beyond(best, grid[^1] / grid[^2])
            : null;
    }

    /// <summary>With three digits, as a person would write it and the state file knows it again.</summary>
    public static double Rounded(double rate) =>
        double.Parse(rate.ToString("E2", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);

    private static double Beyond(double rate, double factor) => Rounded(rate * factor);
}
