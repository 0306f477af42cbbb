using System.Globalization;
using System.Xml.Linq;
using InferenceServer.Cli.Charts;
using Xunit;

namespace InferenceServer.UnitTests.Cli;

/// <summary>The charts are XML, and their points lie where the axes say.</summary>
public sealed class LineChartTests
{
    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void Points_lie_where_the_ticks_of_their_values_are()
    {
        XElement picture = Draw(new ChartSeries("a", [new(0, 1), new(50, 2.5), new(100, 4)], HasMarkers: true));

        double left = TickX(picture, "0");
        double right = TickX(picture, "100");
        double low = TickY(picture, "1");
        double high = TickY(picture, "4");
        (double X, double Y)[] points = Points(picture).Single();
        Assert.Equal([(left, low), ((left + right) / 2, (low + high) / 2), (right, high)], points.Select(Rounded));
        Assert.True(left < right);
        Assert.True(high < low, "a larger value stands higher");
        Assert.Equal(points, picture.Descendants(s_svg + "circle").Select(dot => (Value(dot, "cx"), Value(dot, "cy"))));
    }

    [Fact]
    public void Every_curve_is_in_the_legend_with_its_own_stroke()
    {
        ChartSeries[] series = [.. Enumerable.Range(0, 20).Select(
            i => new ChartSeries($"curve {i}", [new(0, i + 1), new(1, i + 2)], HasMarkers: false))];

        XElement picture = Draw(series);

        XElement[] legends = [.. picture.Descendants(s_svg + "g").Where(group => (string?)group.Attribute("class") == "legend")];
        Assert.Equal(series.Select(curve => curve.Name), legends.Select(legend => legend.Element(s_svg + "text")!.Value));
        string[] strokes = [.. legends.Select(legend => Stroke(legend.Element(s_svg + "line")!))];
        Assert.Equal(20, strokes.Distinct().Count());
        Assert.Equal(strokes, picture.Descendants(s_svg + "polyline").Select(Stroke));

        static string Stroke(XElement line) => $"{(string)line.Attribute("stroke")!} {(string?)line.Attribute("stroke-dasharray")}";
    }

    [Fact]
    public void Nothing_is_drawn_outside_the_picture()
    {
        ChartSeries[] series = [.. Enumerable.Range(0, 40).Select(
            i => new ChartSeries($"c{i}", [new(3, i * 17.3), new(977, 1e-3 * i)], HasMarkers: true))];

        XElement picture = Draw(series);

        double width = Value(picture, "width");
        double height = Value(picture, "height");
        IEnumerable<(double X, double Y)> places = Points(picture).SelectMany(points => points)
            .Concat(picture.Descendants(s_svg + "text").Select(text => (Value(text, "x"), Value(text, "y"))));
        Assert.All(places, place => Assert.True(place.X >= 0 && place.X <= width && place.Y >= 0 && place.Y <= height, $"{place}"));
    }

    [Fact]
    public void Losses_of_many_sizes_get_a_logarithmic_axis()
    {
        XElement picture = Draw(new ChartSeries("a", [new(0, 10), new(1, 1), new(2, 0.1)], HasMarkers: false));

        (double X, double Y)[] points = Points(picture).Single();
        Assert.Equal(points[1].Y - points[0].Y, points[2].Y - points[1].Y, 0.05);
        Assert.Equal(points[1].Y, TickY(picture, "1"), 0.05);
    }

    [Fact]
    public void Values_that_are_not_finite_are_left_out()
    {
        XElement picture = Draw(new ChartSeries("a", [new(0, 1), new(1, double.NaN), new(2, double.PositiveInfinity), new(3, 2)], false));

        Assert.Equal(2, Points(picture).Single().Length);
        Assert.DoesNotContain("NaN", picture.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_chart_of_next_to_nothing_is_still_a_chart(int count)
    {
        ChartPoint[] points = [.. Enumerable.Repeat(new ChartPoint(5, 0.25), count)];

        XElement picture = Draw(new ChartSeries("a", points, HasMarkers: true));

        Assert.Equal(count, picture.Descendants(s_svg + "circle").Count());
        Assert.DoesNotContain("NaN", picture.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Names_are_escaped()
    {
        XElement picture = Draw(new ChartSeries("<a> & \"b\"", [new(0, 1)], HasMarkers: false));

        Assert.Contains(picture.Descendants(s_svg + "text"), text => text.Value == "<a> & \"b\"");
    }

    [Theory]
    [InlineData(0, 100, 5, new[] { 0.0, 20, 40, 60, 80, 100 })]
    [InlineData(0.93, 4.1, 6, new[] { 0, 1.0, 2, 3, 4, 5 })]
    [InlineData(-1, 1, 4, new[] { -1, -0.5, 0, 0.5, 1 })]
    public void Linear_ticks_are_round_and_hold_the_range(double low, double high, int intervals, double[] expected)
    {
        ChartAxis axis = ChartAxis.Linear(low, high, intervals);

        Assert.Equal(expected, axis.Ticks.Select(tick => Math.Round(tick, 9)));
        Assert.InRange(axis.Position(low), 0, 1);
        Assert.InRange(axis.Position(high), 0, 1);
    }

    [Theory]
    [InlineData(0.03, 1.5, new[] { 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2 })]
    [InlineData(1, 10, new[] { 1.0, 2, 5, 10 })]
    public void Logarithmic_ticks_are_round_and_hold_the_range(double low, double high, double[] expected)
    {
        ChartAxis axis = ChartAxis.Logarithmic(low, high);

        Assert.Equal(expected, axis.Ticks.Select(tick => Math.Round(tick, 9)));
        Assert.InRange(axis.Position(low), 0, 1);
        Assert.InRange(axis.Position(high), 0, 1);
    }

    private static XElement Draw(params ChartSeries[] series) => XDocument.Parse(
        new LineChart { Title = "t", XLabel = "x", YLabel = "y", Series = series }.ToSvg()).Root!;

    private static IEnumerable<(double X, double Y)[]> Points(XElement picture) => picture.Descendants(s_svg + "polyline").Select(
        line => ((string)line.Attribute("points")!).Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(pair => pair.Split(',')).Select(pair => (Parse(pair[0]), Parse(pair[1]))).ToArray());

    private static (double X, double Y) Rounded((double X, double Y) point) => (Math.Round(point.X, 2), Math.Round(point.Y, 2));

    private static double TickX(XElement picture, string label) => Value(Tick(picture, label, "middle"), "x");

    // A label's baseline lies 4 under its tick.
    private static double TickY(XElement picture, string label) => Value(Tick(picture, label, "end"), "y") - 4;

    private static XElement Tick(XElement picture, string label, string anchor) => picture.Descendants(s_svg + "text")
        .Single(text => text.Value == label && (string?)text.Attribute("text-anchor") == anchor);

    private static double Value(XElement element, string name) => Parse((string)element.Attribute(name)!);

    private static double Parse(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
