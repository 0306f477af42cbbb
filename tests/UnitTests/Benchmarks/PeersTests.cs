using InferenceServer.Benchmarks;
using InferenceServer.Benchmarks.Peers;
using Xunit;

namespace InferenceServer.UnitTests.Benchmarks;

public sealed class PeersTests
{
    [Fact]
    public void Busy_time_leaves_out_idling_and_waiting_for_disks()
    {
        // user nice system idle iowait irq softirq steal guest guest_nice
        Assert.Equal(1.0 + 2 + 3 + 6 + 7 + 8, ProcessorUse.Busy("cpu  100 200 300 40000 50000 600 700 800 9000 9000"), precision: 9);
    }

    [Fact]
    public void Times_are_found_behind_any_name()
    {
        string stat = "42 (a ) name) S 1 1 1 0 -1 4194304 10 11 12 13 150 25 300 75 20 0 1 0";

        Assert.Equal(1.75, ProcessorUse.Times(stat, count: 2), precision: 9);
        Assert.Equal(5.5, ProcessorUse.Times(stat, count: 4), precision: 9);
    }

    [Fact]
    public void What_others_used_is_what_the_measured_side_did_not()
    {
        ProcessorUse before = new(BusySeconds: 10, OwnSeconds: 4, Timestamp: 0);
        ProcessorUse after = new(BusySeconds: 15, OwnSeconds: 8, Timestamp: 2 * System.Diagnostics.Stopwatch.Frequency);
        ProcessorUse alone = after with { OwnSeconds = 9.5 };

        Assert.Equal(0.5, after.OtherCoresSince(before), precision: 9);
        Assert.Equal(0, alone.OtherCoresSince(before));
    }

    [Fact]
    public void Slices_in_which_others_computed_are_dropped_from_best_median_and_ratio()
    {
        PeerRow row = PeerRow.Group(
        [
            Slice(PeerSide.Ours, round: 0, others: 0, 30, 40), Slice(PeerSide.LlamaCpp, round: 0, others: 0.14, 10, 20),
            Slice(PeerSide.Ours, round: 1, others: 0.15, 90), Slice(PeerSide.LlamaCpp, round: 1, others: 0, 5),
        ]).Single();

        Assert.Equal(40, row.OursBest);
        Assert.Equal(35, row.OursMedian);
        Assert.Equal(20, row.TheirsBest);
        Assert.Equal(10, row.TheirsMedian);
        Assert.Equal(2, row.Ratio);
        Assert.Equal(2, row.RoundRatio);
        Assert.Equal((3, 1), (row.Slices, row.Dropped));
        Assert.Equal(1.5, row.Bar);
    }

    [Fact]
    public void Nothing_that_counts_is_no_number()
    {
        PeerRow row = PeerRow.Group([Slice(PeerSide.Ours, round: 0, others: 1, 30)]).Single();

        Assert.True(double.IsNaN(row.OursBest) && double.IsNaN(row.OursMedian) && double.IsNaN(row.Ratio) && double.IsNaN(row.RoundRatio));
    }

    [Fact]
    public void Options_name_what_they_do_not_know()
    {
        string message = Assert.Throws<ArgumentException>(() => PeersOptions.Parse(["--shapes", "llama-110m,llama-70b"])).Message;

        Assert.Contains("--shapes 'llama-70b' is none of llama-110m", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Options_have_the_streams_of_all_formats_by_default()
    {
        PeersOptions options = PeersOptions.Parse(["--work", "/w", "--server", "--max-running 32"]);

        Assert.Equal(["bf16", "int8", "nf4"], options.Weights);
        Assert.Equal(["decode-1", "decode-16", "prefill-512"], options.What);
        Assert.Equal(["--max-running", "32"], options.Server);
        Assert.Equal("/w/models/llama-110m-Q4_0.gguf", options.Gguf("llama-110m", "nf4"));
    }

    [Fact]
    public void The_report_has_a_row_with_the_ratio_and_what_is_asked_for()
    {
        PeerRow[] rows = PeerRow.Group([Slice(PeerSide.Ours, 0, 0, 40), Slice(PeerSide.LlamaCpp, 0, 0, 20), Slice(PeerSide.Memory, 0, 0, 50)]);

        Assert.Contains(
            "| llama-110m | bf16 / BF16 | decode-1 | 40.0 | 40.0 | 20.0 | 20.0 | **2.00** | 2.00 | 1.5 reached | 80 % | 3 | 0 | 0.00 |",
            PeersReport.Write([], rows),
            StringComparison.Ordinal);
        Assert.Contains("llama-110m, bf16, decode-1", PeersChart.Draw(rows), StringComparison.Ordinal);
    }

    private static PeerSlice Slice(PeerSide side, int round, double others, params double[] tokensPerSecond) => new()
    {
        Shape = "llama-110m",
        Weights = "bf16",
        Work = PeerWork.Decode1,
        Side = side,
        Round = round,
        TokensPerSecond = tokensPerSecond,
        OtherCores = others,
        LoadAverage = "0 0 0",
        At = DateTime.UnixEpoch,
        Run = "a",
    };
}
