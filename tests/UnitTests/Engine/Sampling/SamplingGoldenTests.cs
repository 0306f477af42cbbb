using InferenceServer.Engine.Sampling;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Sampling;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Engine.Sampling;

/// <summary>Distributions as transformers' logits processors make them.</summary>
public sealed class SamplingGoldenTests(ITestOutputHelper output)
{
    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Distributions_equal_those_of_transformers() => GoldenCases.RunFolders(output, "fixtures/sampling*", CheckFolder);

    [Fact]
    public void Distributions_equal_those_of_transformers_in_the_copy_kept_here() =>
        CheckFolder(Path.Combine(AppContext.BaseDirectory, "Data", "sampling"));

    private void CheckFolder(string folder)
    {
        using SamplingCase golden = new(folder);
        GoldenCases.Run(output, $"{Path.GetFileName(folder)} combos", [.. golden.Combinations.Keys], name => Check(golden, name));
    }

    private static void Check(SamplingCase golden, string combo)
    {
        int vocabulary = golden.Logits.Columns;
        float[] expected = golden.Probabilities(combo);
        Sampler sampler = new(vocabulary);
        float[] actual = new float[vocabulary];
        for (int row = 0; row < golden.Logits.Rows; row++)
        {
            int[] tokens = golden.TokensOf(row);
            sampler.Distribution(golden.Combinations[combo], tokens, tokens.Length, golden.Logits.Row(row).ToArray(), actual);
            for (int i = 0; i < vocabulary; i++)
            {
                float wanted = expected[(row * vocabulary) + i];
                bool isKept = golden.IsKept(combo, row, i);
                Assert.True((actual[i] > 0) == isKept, $"row {row}, token {i}: kept {isKept}, probability {actual[i]}");
                Assert.True(Math.Abs(actual[i] - wanted) <= 1e-5f, $"row {row}, token {i}: {actual[i]} instead of {wanted}");
            }
        }
    }
}
