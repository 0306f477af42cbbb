using InferenceServer.Cuda;
using InferenceServer.Engine.Sampling;
using InferenceServer.Tensors.Sampling;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using InferenceServer.TestKit.Sampling;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>
/// Draws on the device against the distributions of transformers: at both ends of each token's part of the unit interval the token is drawn, so
/// no token is kept or dropped wrongly and each has its probability.
/// </summary>
[Collection(StandInCollection.Name)]
public sealed class SamplingGoldenTests(ITestOutputHelper output)
{
    private const ulong Seed = 7;

    // Probabilities are f32, so the ends of a part are known to about 1e-6; tokens with less than a few of it are not asked for.
    private const double Margin = 4e-6;

    private static readonly Lazy<(double Uniform, int Draw)[]> s_uniforms = new(() =>
    {
        (double Uniform, int Draw)[] all = [.. Enumerable.Range(0, 1 << 19).Select(draw => (Philox.Uniform(Seed, draw), draw))];
        Array.Sort(all);
        return all;
    });

    [StandInFact]
    public void Draws_follow_the_distributions_of_transformers()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using SamplingCase golden = new(Path.Combine(AppContext.BaseDirectory, "Data", "sampling"));
        string[] drawable = [.. golden.Combinations.Where(one => one.Value is { TypicalP: 1f, NoRepeatNgramSize: 0 }).Select(one => one.Key)];
        Assert.Equal(9, drawable.Length);
        GoldenCases.Run(output, "draws of combos", drawable, name => Check(backend, golden, name));
    }

    private static void Check(CudaBackend backend, SamplingCase golden, string combo)
    {
        SamplingSettings settings = golden.Combinations[combo];
        for (int row = 0; row < golden.Logits.Rows; row++)
        {
            List<(int Token, int Draw)> wanted = Ends(golden, combo, row);
            SamplingBatch batch = new();
            HostTensor logits = new(wanted.Count, golden.Logits.Columns);
            for (int i = 0; i < wanted.Count; i++)
            {
                golden.Logits.Row(row).CopyTo(logits.Values.AsSpan(i * logits.Columns));
                SamplingRow how = SamplingBench.Plain(settings.Temperature, Seed, wanted[i].Draw) with
                {
                    TopK = settings.TopK,
                    TopP = settings.TopP,
                    MinP = settings.MinP,
                    RepetitionPenalty = settings.RepetitionPenalty,
                };
                batch.Add(how, golden.TokensOf(row));
            }

            SampledToken[] drawn = SamplingBench.Draw(backend, logits, batch);

            Assert.True(wanted.Count > 1, $"row {row}: {wanted.Count} draws");
            Assert.Equal(wanted.Select(one => one.Token), drawn.Select(one => one.Token));
        }
    }

    // Draws whose random numbers are the first and the last in a token's part.
    private static List<(int Token, int Draw)> Ends(SamplingCase golden, string combo, int row)
    {
        float[] probabilities = golden.Probabilities(combo);
        double sum = probabilities.Skip(row * golden.Logits.Columns).Take(golden.Logits.Columns).Sum(value => (double)value);
        List<(int Token, int Draw)> ends = [];
        double end = 0;

        // Where nothing is cut there are many tokens: a quarter of them in each of the four rows.
        bool isCut = golden.Combinations[combo] is not { TopK: 0, TopP: 1f };
        for (int token = 0; token < golden.Logits.Columns; token++)
        {
            double start = end;
            end += probabilities[(row * golden.Logits.Columns) + token] / sum;
            int first = ~Array.BinarySearch(s_uniforms.Value, (start + Margin, -1));
            int last = ~Array.BinarySearch(s_uniforms.Value, (end - Margin, -1)) - 1;
            if (golden.IsKept(combo, row, token) && first <= last && (isCut || token % golden.Logits.Rows == row))
            {
                ends.Add((token, s_uniforms.Value[first].Draw));
                ends.Add((token, s_uniforms.Value[last].Draw));
            }
        }

        return ends;
    }
}
