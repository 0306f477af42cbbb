using System.Diagnostics.Metrics;
using InferenceServer.Server.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace InferenceServer.UnitTests.Grpc;

/// <summary>The exporter's text, line by line, and what it keeps.</summary>
public sealed class PrometheusExporterTests : IDisposable
{
    private static readonly string[] s_regions = ["eu", "us"];

    // A name of its own for each test: listeners hear every meter of the process.
    private readonly Meter _meter = new($"Tests.{Guid.NewGuid():N}");
    private readonly List<PrometheusExporter> _exporters = [];

    [Fact]
    public void A_counter_ends_in_total_and_OpenMetrics_names_it_without()
    {
        PrometheusExporter exporter = Export();
        Counter<long> tokens = _meter.CreateCounter<long>("inference.tokens", "{token}", "Tokens \"made\"\nand \\ sent.");
        tokens.Add(2, new KeyValuePair<string, object?>("adapter", "fr-legal"));
        tokens.Add(3, new KeyValuePair<string, object?>("adapter", "fr-legal"));
        tokens.Add(1);

        Assert.Equal(
            """
            # TYPE inference_tokens_total counter
            # HELP inference_tokens_total Tokens "made"\nand \\ sent.
            inference_tokens_total 1
            inference_tokens_total{adapter="fr-legal"} 5

            """,
            exporter.Write(openMetrics: false));
        Assert.Equal(
            """
            # TYPE inference_tokens counter
            # HELP inference_tokens Tokens \"made\"\nand \\ sent.
            inference_tokens_total 1
            inference_tokens_total{adapter="fr-legal"} 5
            # EOF

            """,
            exporter.Write(openMetrics: true));
    }

    [Fact]
    public void A_histogram_has_the_boundaries_of_its_advice_and_its_unit()
    {
        PrometheusExporter exporter = Export();
        Histogram<double> duration = _meter.CreateHistogram(
            "inference.request.duration", "s", "Time.", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.5, 1] });
        foreach (double value in new[] { 0.25, 0.5, 0.75, 1.5, double.NaN })
        {
            duration.Record(value, new KeyValuePair<string, object?>("model", "m"));
        }

        Assert.Equal(
            """
            # TYPE inference_request_duration_seconds histogram
            # HELP inference_request_duration_seconds Time.
            inference_request_duration_seconds_bucket{model="m",le="0.5"} 2
            inference_request_duration_seconds_bucket{model="m",le="1"} 3
            inference_request_duration_seconds_bucket{model="m",le="+Inf"} 4
            inference_request_duration_seconds_sum{model="m"} 3
            inference_request_duration_seconds_count{model="m"} 4

            """,
            exporter.Write(openMetrics: false));
        string open = exporter.Write(openMetrics: true);
        Assert.Contains("# UNIT inference_request_duration_seconds seconds\n", open, StringComparison.Ordinal);
        Assert.Contains("_bucket{model=\"m\",le=\"1.0\"} 3\n", open, StringComparison.Ordinal);
    }

    [Fact]
    public void A_histogram_of_whole_numbers_without_labels_has_buckets_too()
    {
        PrometheusExporter exporter = Export();
        Histogram<int> size = _meter.CreateHistogram(
            "batch.size", "{sequence}", "Size.", advice: new InstrumentAdvice<int> { HistogramBucketBoundaries = [1, 8] });
        size.Record(8);

        Assert.Equal(
            """
            # TYPE batch_size histogram
            # HELP batch_size Size.
            batch_size_bucket{le="1"} 0
            batch_size_bucket{le="8"} 1
            batch_size_bucket{le="+Inf"} 1
            batch_size_sum 8
            batch_size_count 1

            """,
            exporter.Write(openMetrics: false));
    }

    [Fact]
    public void Values_are_kept_as_their_kind_says()
    {
        PrometheusExporter exporter = Export();
        UpDownCounter<int> upDown = _meter.CreateUpDownCounter<int>("running", null, "R.");
        Gauge<double> gauge = _meter.CreateGauge<double>("level", "1", "L.");
        Counter<double> counter = _meter.CreateCounter<double>("spent", "s", "S.");
        upDown.Add(5);
        upDown.Add(-2);
        gauge.Record(0.25);
        gauge.Record(double.PositiveInfinity);
        counter.Add(1.5);
        counter.Add(-1);
        counter.Add(double.NaN);

        Assert.Equal(
            ["level_ratio +Inf", "running 3", "spent_seconds_total 1.5"],
            Samples(exporter));
    }

    [Fact]
    public void Label_values_are_escaped_and_names_cleaned()
    {
        PrometheusExporter exporter = Export();
        _meter.CreateCounter<int>("c").Add(
            1,
            new("http.request.method", "GET"),
            new("9th", "a\\b\"c\nd"),
            new("number", 200),
            new("flag", true),
            new("half", 0.5),
            new("day", DayOfWeek.Friday),
            new("none", null));

        Assert.Equal(
            ["""c_total{_9th="a\\b\"c\nd",day="Friday",flag="true",half="0.5",http_request_method="GET",number="200"} 1"""],
            Samples(exporter));
    }

    [Fact]
    public void The_order_of_tags_makes_no_second_series_and_a_name_is_there_once()
    {
        PrometheusExporter exporter = Export();
        Counter<int> counter = _meter.CreateCounter<int>("c");
        counter.Add(1, new("b", "2"), new KeyValuePair<string, object?>("a", "1"));
        counter.Add(1, new("a", "1"), new KeyValuePair<string, object?>("b", "2"));
        counter.Add(1, new("x.y", "first"), new KeyValuePair<string, object?>("x_y", "second"));

        Assert.Equal(["c_total{a=\"1\",b=\"2\"} 2", "c_total{x_y=\"first\"} 1"], Samples(exporter));
    }

    [Theory]
    [InlineData("vllm:num_requests_running", null, "vllm:num_requests_running 1")]
    [InlineData("http.server.active_requests", "{request}", "http_server_active_requests 1")]
    [InlineData("memory", "By", "memory_bytes 1")]
    [InlineData("memory.bytes", "By", "memory_bytes 1")]
    [InlineData("rate", "By/s", "rate_bytes_per_second 1")]
    [InlineData("rate", "{token}/s", "rate_per_second 1")]
    [InlineData("odd", "furlong/{night}", "odd_furlong_per_night 1")]
    [InlineData("usage", "1", "usage_ratio 1")]
    public void Names_end_in_their_unit(string name, string? unit, string line)
    {
        PrometheusExporter exporter = Export();
        _meter.CreateGauge<int>(name, unit).Record(1);

        Assert.Equal([line], Samples(exporter));
    }

    [Fact]
    public void A_metric_without_a_description_is_helped_by_its_names()
    {
        PrometheusExporter exporter = Export();
        _meter.CreateGauge<int>("some.level").Record(1);

        Assert.Contains($"# HELP some_level some.level of {_meter.Name}.\n", exporter.Write(openMetrics: false), StringComparison.Ordinal);
    }

    [Fact]
    public void What_an_observable_instrument_no_longer_reports_is_gone()
    {
        PrometheusExporter exporter = Export();
        string running = "a, b";
        _meter.CreateObservableGauge("lora_info", () => new Measurement<int>(7, new KeyValuePair<string, object?>("running", running)));

        Assert.Equal(["lora_info{running=\"a, b\"} 7"], Samples(exporter));
        running = "a";
        Assert.Equal(["lora_info{running=\"a\"} 7"], Samples(exporter));
    }

    [Fact]
    public void An_observable_instrument_that_fails_does_not_hide_the_others()
    {
        PrometheusExporter exporter = Export();
        _meter.CreateObservableGauge("bad", new Func<int>(() => throw new InvalidOperationException("bad")));
        _meter.CreateObservableCounter("good", () => 5);

        Assert.Equal(["good_total 5"], Samples(exporter));
    }

    [Fact]
    public void Label_sets_over_the_limit_are_added_up_as_other()
    {
        PrometheusExporter exporter = Export(maxSeries: 2);
        Counter<int> counter = _meter.CreateCounter<int>("c");
        for (int round = 0; round < 2; round++)
        {
            foreach (string adapter in new[] { "a", "b", "c", "d", "e" })
            {
                counter.Add(1, new("adapter", adapter), new KeyValuePair<string, object?>("tier", "host"));
            }
        }

        Assert.Equal(
            [
                "c_total{adapter=\"a\",tier=\"host\"} 2",
                "c_total{adapter=\"b\",tier=\"host\"} 2",
                "c_total{adapter=\"other\",tier=\"other\"} 6",
            ],
            Samples(exporter));
    }

    [Fact]
    public void Observed_label_sets_over_the_limit_are_added_up_anew_each_time()
    {
        PrometheusExporter exporter = Export(maxSeries: 1);
        _meter.CreateObservableUpDownCounter("c", () => new[] { "a", "b", "c" }.Select(
            adapter => new Measurement<int>(5, new KeyValuePair<string, object?>("adapter", adapter))));

        Assert.Equal(["c{adapter=\"a\"} 5", "c{adapter=\"other\"} 10"], Samples(exporter));
        Assert.Equal(["c{adapter=\"a\"} 5", "c{adapter=\"other\"} 10"], Samples(exporter));
    }

    [Fact]
    public void Labels_too_long_to_keep_are_other()
    {
        PrometheusExporter exporter = Export();
        Counter<int> counter = _meter.CreateCounter<int>("c");
        string longer = new('x', 2000);
        counter.Add(1, new KeyValuePair<string, object?>("adapter", longer));
        counter.Add(1, new KeyValuePair<string, object?>("adapter", new string('x', 100_000)));

        Assert.Equal(["c_total{adapter=\"other\"} 1", $"c_total{{adapter=\"{longer}\"}} 1"], Samples(exporter));
    }

    [Fact]
    public void Dropping_a_label_value_forgets_its_series_and_makes_room()
    {
        PrometheusExporter exporter = Export(maxSeries: 2);
        Counter<int> counter = _meter.CreateCounter<int>("c");
        Histogram<double> histogram = _meter.CreateHistogram<double>("h");
        counter.Add(1, new("adapter", "a\"1"), new KeyValuePair<string, object?>("tier", "host"));
        counter.Add(1, new("tier", "a\"1"), new KeyValuePair<string, object?>("base.adapter", "a\"1"));
        histogram.Record(1, new KeyValuePair<string, object?>("adapter", "a\"1"));

        Assert.Equal(2, exporter.Drop("adapter", "a\"1"));
        Assert.Equal(0, exporter.Drop("adapter", "a\"1"));
        counter.Add(1, new KeyValuePair<string, object?>("adapter", "new"));

        Assert.Equal(
            ["c_total{adapter=\"new\"} 1", """c_total{base_adapter="a\"1",tier="a\"1"} 1"""],
            Samples(exporter));
    }

    [Fact]
    public void A_value_that_looks_like_a_label_is_not_taken_for_one()
    {
        PrometheusExporter exporter = Export();
        _meter.CreateCounter<int>("c").Add(1, new KeyValuePair<string, object?>("text", "x\",adapter=\"a"));

        Assert.Equal(0, exporter.Drop("adapter", "a"));
    }

    [Fact]
    public void A_measurement_of_a_known_label_set_allocates_nothing()
    {
        using PrometheusExporter exporter = Export(maxSeries: 4);
        Counter<long> counter = _meter.CreateCounter<long>("c");
        Histogram<double> histogram = _meter.CreateHistogram<double>("h");
        object status = 200;
        string[] adapters = [.. Enumerable.Range(0, 8).Select(i => $"adapter-{i}")];
        void Measure()
        {
            foreach (string adapter in adapters)
            {
                counter.Add(1, new("adapter", adapter), new("region", s_regions[0]), new KeyValuePair<string, object?>("status", status));
                histogram.Record(0.02, new("adapter", adapter), new KeyValuePair<string, object?>("region", s_regions[1]));
            }
        }

        // Once for the series, and for the code that is compiled on first use.
        for (int i = 0; i < 100; i++)
        {
            Measure();
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
        {
            Measure();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Measurements_from_many_threads_are_all_counted()
    {
        PrometheusExporter exporter = Export(maxSeries: 3);
        Counter<int> counter = _meter.CreateCounter<int>("c");
        Parallel.For(0, 8, thread =>
        {
            for (int i = 0; i < 5000; i++)
            {
                counter.Add(1, new KeyValuePair<string, object?>("adapter", $"{i % 7}"));
            }
        });

        string[] samples = Samples(exporter);

        Assert.Equal(4, samples.Length);
        Assert.Equal(40_000, samples.Sum(line => int.Parse(line.Split(' ')[^1])));
    }

    [Fact]
    public void Other_meters_and_meters_of_another_host_are_left_out()
    {
        using ServiceProvider mine = new ServiceCollection().AddMetrics().BuildServiceProvider();
        using ServiceProvider theirs = new ServiceCollection().AddMetrics().BuildServiceProvider();
        PrometheusExporterOptions options = new() { Meters = { _meter.Name } };
        using PrometheusExporter exporter = new(options, mine.GetRequiredService<IMeterFactory>());

        mine.GetRequiredService<IMeterFactory>().Create(_meter.Name).CreateCounter<int>("mine").Add(1);
        theirs.GetRequiredService<IMeterFactory>().Create(_meter.Name).CreateCounter<int>("theirs").Add(1);
        _meter.CreateCounter<int>("nobodys").Add(1);
        using Meter other = new(_meter.Name + ".Other");
        other.CreateCounter<int>("other").Add(1);

        Assert.Equal(["mine_total 1", "nobodys_total 1"], Samples(exporter));
    }

    [Fact]
    public void A_name_taken_by_another_kind_of_instrument_is_left_out()
    {
        PrometheusExporter exporter = Export();
        Gauge<int> gauge = _meter.CreateGauge<int>("same");
        UpDownCounter<int> upDown = _meter.CreateUpDownCounter<int>("same");
        gauge.Record(4);
        upDown.Add(100);

        Assert.Equal(["same 4"], Samples(exporter));
    }

    [Theory]
    [InlineData("", false)]
    [InlineData("*/*", false)]
    [InlineData("text/plain", false)]
    [InlineData("application/openmetrics-text", true)]
    [InlineData("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", false)]
    [InlineData("application/openmetrics-text;version=1.0.0;q=0", false)]
    [InlineData("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.5", false)]
    [InlineData("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5,*/*;q=0.1", true)]
    public void OpenMetrics_is_given_to_whom_asks_for_it(string accept, bool openMetrics)
    {
        Assert.Equal(openMetrics, PrometheusEndpointExtensions.PrefersOpenMetrics([accept]));
    }

    public void Dispose()
    {
        _exporters.ForEach(exporter => exporter.Dispose());
        _meter.Dispose();
    }

    private static string[] Samples(PrometheusExporter exporter) =>
        [.. exporter.Write(openMetrics: false).Split('\n').Where(line => line.Length > 0 && line[0] != '#')];

    private PrometheusExporter Export(int maxSeries = 1000)
    {
        PrometheusExporterOptions options = new() { Meters = { _meter.Name }, MaxSeriesPerInstrument = maxSeries };
        PrometheusExporter exporter = new(options);
        _exporters.Add(exporter);
        return exporter;
    }
}
