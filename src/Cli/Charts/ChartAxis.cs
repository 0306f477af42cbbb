using System.Globalization;

namespace InferenceServer.Cli.Charts;

/// <summary>A range of values with round ticks, linear or logarithmic.</summary>
internal sealed class ChartAxis
{
    private static readonly double[] s_roundSteps = [1, 2, 5, 10];

    private readonly double _low;
    private readonly double _high;
    private readonly bool _isLogarithmic;

    private ChartAxis(double low, double high, bool isLogarithmic, IReadOnlyList<double> ticks)
    {
        _low = low;
        _high = high;
        _isLogarithmic = isLogarithmic;
        Ticks = ticks;
    }

    /// <summary>Round values inside the range, ascending.</summary>
    public IReadOnlyList<double> Ticks { get; }

    /// <summary>A linear axis whose ends are ticks.</summary>
    /// <param name="low">Smallest value to be shown.</param>
    /// <param name="high">Largest value to be shown.</param>
    /// <param name="intervals">About how many intervals between ticks.</param>
    public static ChartAxis Linear(double low, double high, int intervals)
    {
        if (!(high > low))
        {
            // One value only: some room on both sides of it.
            double room = low == 0 ? 1 : Math.Abs(low) / 2;
            (low, high) = (low - room, low + room);
        }

        double raw = (high - low) / intervals;
        double power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        double step = s_roundSteps.First(round => round * power >= raw * 0.999) * power;
        long first = (long)Math.Floor((low / step) + 1e-9);
        long last = (long)Math.Ceiling((high / step) - 1e-9);
        double[] ticks = [.. Enumerable.Range(0, (int)(last - first + 1)).Select(i => (first + i) * step)];
        return new ChartAxis(ticks[0], ticks[^1], isLogarithmic: false, ticks);
    }

    /// <summary>A logarithmic axis with ticks at 1, 2 and 5 times the powers of ten; both ends above 0.</summary>
    public static ChartAxis Logarithmic(double low, double high)
    {
        int firstPower = (int)Math.Floor(Math.Log10(low));
        int lastPower = (int)Math.Ceiling(Math.Log10(high));
        double[] all = [.. Enumerable.Range(firstPower, lastPower - firstPower + 1)
            .SelectMany(power => s_roundSteps[..3].Select(round => round * Math.Pow(10, power)))];
        double bottom = all.Last(tick => tick <= low * 1.0001);
        double top = all.FirstOrDefault(tick => tick >= high * 0.9999 && tick > bottom, bottom * 2);
        return new ChartAxis(bottom, top, isLogarithmic: true, [.. all.Where(tick => tick >= bottom && tick <= top)]);
    }

    /// <summary>Where a value lies: 0 at the low end, 1 at the high end.</summary>
    public double Position(double value)
    {
        return _isLogarithmic ? Math.Log(value / _low) / Math.Log(_high / _low) : (value - _low) / (_high - _low);
    }

    /// <summary>A tick as text, without the noise of binary fractions.</summary>
    public static string Label(double tick)
    {
        return tick.ToString(Math.Abs(tick) is >= 1e6 or (> 0 and < 1e-4) ? "0.##E+0" : "#,0.######", CultureInfo.InvariantCulture);
    }
}
