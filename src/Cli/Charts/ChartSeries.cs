namespace InferenceServer.Cli.Charts;

/// <summary>One curve.</summary>
/// <param name="Name">What the legend calls it.</param>
/// <param name="Points">From left to right; values that are not finite are left out.</param>
/// <param name="HasMarkers">Whether each point is marked: for few points with a line between them that is only a guess.</param>
internal sealed record ChartSeries(string Name, IReadOnlyList<ChartPoint> Points, bool HasMarkers);
