using System.Text.Json;
using System.Xml.Linq;
using InferenceServer.Cli.Comparison;
using InferenceServer.Cli.Comparison.Claims;
using Xunit;

namespace InferenceServer.UnitTests.Cli.Comparison;

/// <summary>The table in its three forms, and the picture.</summary>
public sealed class ComparisonReportTests
{
    private static readonly ComparisonReport s_report = new(
        new MadeUpTable().Row("lora", 1).Row("lora-plus", 0.8, reachedAt: 50).Failed("dora", 2).Repeat(1.03).Build(),
        "A base, 100 steps.");

    [Fact]
    public void Markdown_has_a_row_for_each_contender_and_each_claim()
    {
        string[] lines = s_report.ToMarkdown().Split('\n');

        Assert.Contains("losses within 3 % of each other", s_report.ToMarkdown(), StringComparison.Ordinal);
        Assert.Contains("| lora r8 | 1E-3 | 10,000 | 39.1 KiB | 5.7 MiB | 90 | 45 | 1.0000 | 1.0000 | - |", lines);
        Assert.Contains("| lora-plus r8 | 1E-3 | 10,000 | 39.1 KiB | 5.7 MiB | 38 | 19 | 0.8000 | 0.8000 | - |", lines);
        Assert.Contains("| dora r2 | 1E+0 |  |  |  |  |  | failed | the loss of step 3 is NaN |  |", lines);
        Assert.Contains(
            "| LoRA+ reaches the loss in fewer steps than LoRA | holds | held-out loss 1.1000 after 38 steps, "
                + "lora r8 after 90 (with other seeds 93) |",
            lines);
        Assert.Equal(11, lines.Count(line => line.Contains(" | holds | ", StringComparison.Ordinal)
            || line.Contains(" | does not hold | ", StringComparison.Ordinal)
            || line.Contains(" | cannot be judged | ", StringComparison.Ordinal)));
    }

    [Fact]
    public void Csv_has_as_many_fields_in_every_line()
    {
        string[] lines = s_report.ToCsv().Split('\n', StringSplitOptions.RemoveEmptyEntries);

        Assert.Equal(4, lines.Length);
        Assert.All(lines, line => Assert.Equal(17, line.Split(',').Length));
        Assert.StartsWith("lora-plus r8,8,0.001,10000,40000,1000000,5000000,1.1,38,19,0.8,0.8,100,50,0,0,", lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public void Json_holds_the_curves_and_the_rulings()
    {
        JsonElement root = JsonDocument.Parse(s_report.ToJson()).RootElement;

        Assert.Equal(10, root.GetProperty("rows")[0].GetProperty("trial").GetProperty("heldOut").GetArrayLength());
        Assert.Equal(Claim.All.Count, root.GetProperty("claims").GetArrayLength());
    }

    [Fact]
    public void The_picture_has_a_curve_for_each_row_that_succeeded()
    {
        XNamespace svg = "http://www.w3.org/2000/svg";
        XElement picture = XDocument.Parse(s_report.Chart().ToSvg()).Root!;

        Assert.Equal(
            ["lora-plus r8", "lora r8"],
            picture.Descendants(svg + "g").Where(group => (string?)group.Attribute("class") == "curve")
                .Select(group => group.Element(svg + "title")!.Value));
    }
}
