using System.Globalization;
using System.Xml.Linq;

namespace InferenceServer.Benchmarks;

/// <summary>A bar for each ratio, with a mark at what is asked for; an SVG picture that needs nothing else.</summary>
internal static class RatioChart
{
    // Widths in the picture's own units, which a browser shows as pixels.
    private const double Left = 300;
    private const double Top = 64;
    private const double Width = 560;
    private const double RowHeight = 20;
    private const double BarHeight = 13;

    // A ratio at which a linear axis would press the others against its foot.
    private const double LogarithmicFrom = 8;

    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    // Of Okabe and Ito, which the colour-blind can tell apart: reached or nothing asked for, and not reached.
    private const string Reached = "#0072B2";
    private const string Missed = "#E69F00";

    private static readonly double[] s_ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];

    /// <summary>Draws the ratios that are numbers, one below the other.</summary>
    /// <param name="title">What the lengths mean.</param>
    /// <param name="rows">Label, ratio, and what is asked for; null where nothing is.</param>
    public static string Draw(string title, IReadOnlyList<(string Label, double Ratio, double? Asked)> rows)
    {
        (string Label, double Ratio, double? Asked)[] drawn = [.. rows.Where(row => double.IsFinite(row.Ratio) && row.Ratio > 0)];
        double[] values = [1, .. drawn.Select(row => row.Ratio), .. drawn.Where(row => row.Asked is not null).Select(row => row.Asked!.Value)];
        double low = s_ticks.Last(tick => tick <= Math.Max(values.Min(), s_ticks[0]));
        double high = s_ticks.FirstOrDefault(tick => tick >= values.Max(), values.Max());
        bool isLogarithmic = high > LogarithmicFrom;
        double At(double value) => Left + (Width * (isLogarithmic ? Math.Log(value / low) / Math.Log(high / low) : value / high));
        double foot = isLogarithmic ? Left : At(0);
        double height = Top + (RowHeight * drawn.Length) + 60;
        XElement picture = new(
            s_svg + "svg",
            new XAttribute("viewBox", $"0 0 {Number(Left + Width + 90)} {Number(height)}"),
            new XAttribute("width", Number(Left + Width + 90)),
            new XAttribute("height", Number(height)),
            new XAttribute("font-family", "sans-serif"),
            new XAttribute("font-size", "12"),
            new XElement(s_svg + "rect", new XAttribute("width", "100%"), new XAttribute("height", "100%"), new XAttribute("fill", "white")),
            Text(20, 26, title, "start", 16),
            Text(20, 46, "blue: at least what is asked for, or nothing is; orange: less; black mark: what is asked for", "start", 12));
        double bottom = Top + (RowHeight * drawn.Length);
        foreach (double tick in s_ticks.Where(tick => tick >= low && tick <= high))
        {
            picture.Add(
                Line(At(tick), Top - 6, At(tick), bottom, tick == 1 ? "#333" : "#DDD", 1),
                Text(At(tick), bottom + 16, tick.ToString("0.##", CultureInfo.InvariantCulture), "middle", 12));
        }

        for (int i = 0; i < drawn.Length; i++)
        {
            (string label, double ratio, double? asked) = drawn[i];
            double y = Top + (RowHeight * i);
            double end = At(ratio);
            picture.Add(
                Text(Left - 8, y + BarHeight - 2, label, "end", 12),
                new XElement(
                    s_svg + "rect",
                    new XAttribute("x", Number(foot)),
                    new XAttribute("y", Number(y)),
                    new XAttribute("width", Number(Math.Max(1, end - foot))),
                    new XAttribute("height", Number(BarHeight)),
                    new XAttribute("fill", asked is double least && ratio < least ? Missed : Reached)),
                Text(end + 4, y + BarHeight - 2, ratio.ToString("0.00", CultureInfo.InvariantCulture), "start", 11));
            if (asked is double bar)
            {
                picture.Add(Line(At(bar), y - 2, At(bar), y + BarHeight + 2, "#000", 2));
            }
        }

        return new XDocument(picture).ToString() + "\n";
    }

    private static XElement Line(double x1, double y1, double x2, double y2, string colour, double width) => new(
        s_svg + "line",
        new XAttribute("x1", Number(x1)),
        new XAttribute("y1", Number(y1)),
        new XAttribute("x2", Number(x2)),
        new XAttribute("y2", Number(y2)),
        new XAttribute("stroke", colour),
        new XAttribute("stroke-width", Number(width)));

    private static XElement Text(double x, double y, string text, string anchor, int size) => new(
        s_svg + "text",
        new XAttribute("x", Number(x)),
        new XAttribute("y", Number(y)),
        new XAttribute("text-anchor", anchor),
        new XAttribute("font-size", Number(size)),
        text);

    private static string Number(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);
}
