using InferenceServer.Cli.Comparison.Claims;
using Xunit;

namespace InferenceServer.UnitTests.Cli.Comparison;

/// <summary>Each claim's rule on rows for which it holds, does not hold, and cannot be judged.</summary>
public sealed class ClaimTests
{
    [Theory]
    [InlineData("lora-plus")]
    [InlineData("pissa")]
    [InlineData("olora")]
    public void Fewer_steps_are_fewer(string method)
    {
        Claim claim = method switch
        {
            "pissa" => new FasterStartClaim("PiSSA", "pissa"),
            "olora" => new FasterStartClaim("OLoRA", "olora"),
            _ => new LoraPlusClaim(),
        };

        Holds(claim, new MadeUpTable().Row("lora", 1).Row(method, 1, reachedAt: 60));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row(method, 1));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row(method, 1.5, reachedAt: 20));
        Holds(claim, new MadeUpTable().Row("lora", 1).Row(method, 1, reachedAt: 60).Repeat(1, reachedAt: 70));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row(method, 1, reachedAt: 60).Repeat(1, reachedAt: 50));
        Unknown(claim, new MadeUpTable().Row("lora", 1).Failed(method));
        Unknown(claim, new MadeUpTable().Row(method, 1));
        Assert.Equal(
            Ruling.CannotBeJudged, claim.Judge(new MadeUpTable().Row("lora", 1).Row(method, 1).Build(targetLoss: 0.5)).Ruling);
        Assert.Equal(
            Ruling.Holds, claim.Judge(new MadeUpTable().Row("lora", 1).Row(method, 0.4).Build(targetLoss: 0.5)).Ruling);
    }

    [Fact]
    public void VeRA_is_judged_by_the_LoRA_of_which_it_has_about_3_percent()
    {
        VeraClaim claim = new();

        MadeUpTable Table(double vera, double large) => new MadeUpTable()
            .Row("lora", 2, rank: 8, parameters: 10_000).Row("lora", large, rank: 32, parameters: 40_000)
            .Row("vera", vera, rank: 256, parameters: 1_200);

        Holds(claim, Table(vera: 1.04, large: 1));
        DoesNotHold(claim, Table(vera: 1.06, large: 1));
        Unknown(claim, new MadeUpTable().Row("lora", 1, parameters: 10_000).Row("vera", 1, rank: 256, parameters: 1_000));
        Unknown(claim, new MadeUpTable().Row("lora", 1));
        Unknown(claim, new MadeUpTable().Row("vera", 1, rank: 256));
    }

    [Fact]
    public void LoRA_FA_trains_half_and_keeps_less()
    {
        LoraFaClaim claim = new();
        MadeUpTable Table(long parameters, long peak) => new MadeUpTable().Row("lora", 1).Row("lora-fa", 3, parameters: parameters, peak: peak);

        Holds(claim, Table(5_000, 900_000));
        DoesNotHold(claim, Table(10_000, 900_000));

        // Less in all, but only by what half as many parameters save.
        DoesNotHold(claim, Table(5_000, 1_000_000 - (16 * 5_000)));
        Unknown(claim, new MadeUpTable().Row("lora", 1));
        Unknown(claim, Table(5_000, peak: 0));
    }

    [Fact]
    public void LoRA_drop_trains_half_at_nearly_equal_loss()
    {
        LoraDropClaim claim = new();

        Holds(claim, new MadeUpTable().Row("lora", 1).Row("lora-drop", 1.04, parameters: 5_500));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("lora-drop", 1.04, parameters: 8_000));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("lora-drop", 1.2, parameters: 5_000));
        Unknown(claim, new MadeUpTable().Failed("lora").Row("lora-drop", 1));
    }

    [Fact]
    public void AdaLoRA_must_be_uneven_and_lower()
    {
        AdaLoraClaim claim = new();

        Holds(claim, new MadeUpTable().Row("lora", 1).Row("adalora", 0.9, largestRank: 11));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("adalora", 0.9, largestRank: 8));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("adalora", 0.995, largestRank: 11));
        Unknown(claim, new MadeUpTable().Row("lora", 1).Failed("adalora"));
    }

    [Fact]
    public void DoRA_is_judged_at_its_lowest_rank()
    {
        DoraClaim claim = new();

        Holds(claim, new MadeUpTable().Row("lora", 1, 2).Row("dora", 0.9, 2).Row("lora", 0.5).Row("dora", 0.6));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1, 2).Row("dora", 1, 2).Row("lora", 0.6).Row("dora", 0.5));
        Unknown(claim, new MadeUpTable().Row("dora", 1, 2).Row("lora", 1));
        Unknown(claim, new MadeUpTable().Row("lora", 1, 2));
    }

    [Fact]
    public void RsLoRA_gains_from_rank_only_where_LoRA_does_not()
    {
        RsLoraClaim claim = new();
        MadeUpTable Table(double low, double high, double plainLow, double plainHigh) => new MadeUpTable()
            .Row("rslora", low, 2).Row("rslora", high, 32).Row("lora", plainLow, 2).Row("lora", plainHigh, 32);

        Holds(claim, Table(1, 0.8, 1, 1));
        DoesNotHold(claim, Table(1, 0.8, 1, 0.8));
        DoesNotHold(claim, Table(1, 1, 1, 1));
        Unknown(claim, new MadeUpTable().Row("rslora", 1, 2).Row("lora", 1, 2));
        Unknown(claim, new MadeUpTable().Row("rslora", 1, 2).Row("rslora", 1, 32).Row("lora", 1, 2).Failed("lora", 32));
    }

    [Fact]
    public void Delta_LoRA_is_lower_at_the_same_rank()
    {
        DeltaLoraClaim claim = new();

        Holds(claim, new MadeUpTable().Row("lora", 1).Row("delta-lora", 0.95));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("delta-lora", 1));
        Unknown(claim, new MadeUpTable().Row("lora", 1).Row("delta-lora", 0.5, rank: 4));
    }

    [Fact]
    public void QLoRA_needs_less_memory_at_equal_loss()
    {
        QLoraClaim claim = new();

        Holds(claim, new MadeUpTable().Row("lora", 1).Row("qlora", 1.03, baseBytes: 1_500_000));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("qlora", 1.03, baseBytes: 1_500_000, peak: 9_000_000));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("qlora", 1.2, baseBytes: 1_500_000));
        Unknown(claim, new MadeUpTable().Row("lora", 1).Failed("qlora"));
        Unknown(claim, new MadeUpTable().Row("lora", 1).Row("qlora", 1, baseBytes: 1_500_000, peak: 0));
    }

    [Fact]
    public void What_another_seed_changes_is_no_difference()
    {
        DeltaLoraClaim claim = new();

        Holds(claim, new MadeUpTable().Row("lora", 1).Row("delta-lora", 0.95).Repeat(1.02));
        DoesNotHold(claim, new MadeUpTable().Row("lora", 1).Row("delta-lora", 0.95).Repeat(1.02).Repeat(0.92));
    }

    [Fact]
    public void Every_paper_has_its_claim_once()
    {
        Assert.Equal(11, Claim.All.Count);
        Assert.Equal(11, Claim.All.Select(claim => claim.Statement).Distinct().Count());
        Assert.All(Claim.All, claim => Unknown(claim, new MadeUpTable()));
    }

    private static void Holds(Claim claim, MadeUpTable table) => Check(Ruling.Holds, claim, table);

    private static void DoesNotHold(Claim claim, MadeUpTable table) => Check(Ruling.DoesNotHold, claim, table);

    private static void Unknown(Claim claim, MadeUpTable table) => Check(Ruling.CannotBeJudged, claim, table);

    private static void Check(Ruling expected, Claim claim, MadeUpTable table)
    {
        Verdict verdict = claim.Judge(table.Build());
        Assert.True(expected == verdict.Ruling, $"{claim.Statement}: {verdict}");
    }
}
