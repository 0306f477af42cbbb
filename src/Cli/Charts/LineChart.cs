using System.Globalization;
using System.Xml.Linq;

namespace InferenceServer.Cli.Charts;

/// <summary>Curves with axes, ticks and a legend, as an SVG picture that needs nothing else.</summary>
internal sealed class LineChart
{
    // Widths in the picture's own units, which a browser shows as pixels.
    private const double PlotLeft = 70;
    private const double PlotTop = 44;
    private const double PlotWidth = 640;
    private const double PlotHeight = 360;
    private const double LegendLeft = PlotLeft + PlotWidth + 20;
    private const double LegendWidth = 200;
    private const double LegendRow = 18;
    private const double Bottom = 56;

    // A ratio at which a linear axis would press the lower curves into one line.
    private const double LogarithmicFrom = 10;

    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    // Okabe and Ito's colours, which the colour-blind can tell apart, then dashes for more curves than colours.
    private static readonly string[] s_colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A6D00"];
    private static readonly string[] s_dashes = ["", "7 3", "2 3", "9 3 2 3"];

    public required string Title { get; init; }

    public required string XLabel { get; init; }

    public required string YLabel { get; init; }

    public required IReadOnlyList<ChartSeries> Series { get; init; }

    /// <summary>The picture as XML.</summary>
    public string ToSvg()
    {
        ChartSeries[] series = [.. Series.Select(curve => curve with { Points = [.. curve.Points.Where(IsDrawn)] })];
        ChartPoint[] points = [.. series.SelectMany(curve => curve.Points)];
        ChartAxis x = points.Length == 0 ? ChartAxis.Linear(0, 1, 5) : ChartAxis.Linear(
            Math.Min(0, points.Min(point => point.X)), points.Max(point => point.X), 8);
        ChartAxis y = VerticalAxis(points);
        double height = Math.Max(PlotTop + PlotHeight + Bottom, PlotTop + (LegendRow * (series.Length + 1)));
        double width = LegendLeft + LegendWidth;
        XElement picture = new(
            s_svg + "svg",
            new XAttribute("viewBox", $"0 0 {Number(width)} {Number(height)}"),
            new XAttribute("width", Number(width)),
            new XAttribute("height", Number(height)),
            new XAttribute("font-family", "sans-serif"),
            new XAttribute("font-size", "12"),
            new XElement(s_svg + "rect", new XAttribute("width", "100%"), new XAttribute("height", "100%"), new XAttribute("fill", "white")),
            Text(PlotLeft, 26, Title, "start", new XAttribute("font-size", "16"), new XAttribute("font-weight", "bold")),
            Axes(x, y));
        for (int i = 0; i < series.Length; i++)
        {
            picture.Add(Curve(series[i], i, x, y), Legend(series[i].Name, i));
        }

        return new XDocument(picture).ToString() + "\n";
    }

    private static bool IsDrawn(ChartPoint point) => double.IsFinite(point.X) && double.IsFinite(point.Y);

    private static ChartAxis VerticalAxis(ChartPoint[] points)
    {
        if (points.Length == 0)
        {
            return ChartAxis.Linear(0, 1, 5);
        }

        double low = points.Min(point => point.Y);
        double high = points.Max(point => point.Y);
        return low > 0 && high / low > LogarithmicFrom
            ? ChartAxis.Logarithmic(low, high)
            : ChartAxis.Linear(Math.Min(low, Math.Max(0, low - ((high - low) / 10))), high, 6);
    }

    private XElement Axes(ChartAxis x, ChartAxis y)
    {
        XElement group = new(s_svg + "g", new XAttribute("class", "axes"), new XAttribute("fill", "#333"));
        foreach (double tick in y.Ticks)
        {
            double at = Vertical(y, tick);
            group.Add(Line(PlotLeft, at, PlotLeft + PlotWidth, at, "#DDD"), Text(PlotLeft - 8, at + 4, ChartAxis.Label(tick), "end"));
        }

        foreach (double tick in x.Ticks)
        {
            double at = Horizontal(x, tick);
            group.Add(
                Line(at, PlotTop + PlotHeight, at, PlotTop + PlotHeight + 5, "#333"),
                Text(at, PlotTop + PlotHeight + 20, ChartAxis.Label(tick), "middle"));
        }

        double middle = PlotTop + (PlotHeight / 2);
        group.Add(
            Line(PlotLeft, PlotTop, PlotLeft, PlotTop + PlotHeight, "#333"),
            Line(PlotLeft, PlotTop + PlotHeight, PlotLeft + PlotWidth, PlotTop + PlotHeight, "#333"),
            Text(PlotLeft + (PlotWidth / 2), PlotTop + PlotHeight + 42, XLabel, "middle"),
            Text(18, middle, YLabel, "middle", new XAttribute("transform", $"rotate(-90 18 {Number(middle)})")));
        return group;
    }

    private static XElement Curve(ChartSeries series, int index, ChartAxis x, ChartAxis y)
    {
        XElement group = new(s_svg + "g", new XAttribute("class", "curve"), new XElement(s_svg + "title", series.Name));
        group.Add(new XElement(
            s_svg + "polyline",
            new XAttribute("points", string.Join(' ', series.Points.Select(
                point => $"{Number(Horizontal(x, point.X))},{Number(Vertical(y, point.Y))}"))),
            new XAttribute("fill", "none"),
            new XAttribute("stroke", Colour(index)),
            new XAttribute("stroke-width", series.HasMarkers ? "1.8" : "1.2"),
            Dash(index)));
        if (series.HasMarkers)
        {
            group.Add(series.Points.Select(point => new XElement(
                s_svg + "circle",
                new XAttribute("cx", Number(Horizontal(x, point.X))),
                new XAttribute("cy", Number(Vertical(y, point.Y))),
                new XAttribute("r", "2.5"),
                new XAttribute("fill", Colour(index)))));
        }

        return group;
    }

    private static XElement Legend(string name, int index)
    {
        double at = PlotTop + (LegendRow * (index + 0.5));
        return new XElement(
            s_svg + "g",
            new XAttribute("class", "legend"),
            new XElement(
                s_svg + "line",
                new XAttribute("x1", Number(LegendLeft)),
                new XAttribute("y1", Number(at)),
                new XAttribute("x2", Number(LegendLeft + 26)),
                new XAttribute("y2", Number(at)),
                new XAttribute("stroke", Colour(index)),
                new XAttribute("stroke-width", "2"),
                Dash(index)),
            Text(LegendLeft + 32, at + 4, name, "start"));
    }

    private static double Horizontal(ChartAxis axis, double value) => PlotLeft + (PlotWidth * axis.Position(value));

    private static double Vertical(ChartAxis axis, double value) => PlotTop + (PlotHeight * (1 - axis.Position(value)));

    private static string Colour(int index) => s_colours[index % s_colours.Length];

    private static XAttribute? Dash(int index)
    {
        string dash = s_dashes[index / s_colours.Length % s_dashes.Length];
        return dash.Length == 0 ? null : new XAttribute("stroke-dasharray", dash);
    }

    private static XElement Line(double x1, double y1, double x2, double y2, string colour) => new(
        s_svg + "line",
        new XAttribute("x1", Number(x1)),
        new XAttribute("y1", Number(y1)),
        new XAttribute("x2", Number(x2)),
        new XAttribute("y2", Number(y2)),
        new XAttribute("stroke", colour));

    private static XElement Text(double x, double y, string text, string anchor, params XAttribute[] more) => new(
        s_svg + "text",
        new XAttribute("x", Number(x)),
        new XAttribute("y", Number(y)),
        new XAttribute("text-anchor", anchor),
        more,
        text);

    private static string Number(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);
}
