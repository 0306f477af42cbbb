using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using Xunit;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>Checks a base against transformers' own logits and greedy continuations, in f32.</summary>
internal static class BaseChecks
{
    private const double Bound = 2e-4;

    public static void Base(string folder) => Check(folder, new GoldenModel(folder));

    /// <param name="folder">The base.</param>
    /// <param name="model">The base on a backend that rounds nothing but sums; disposed here.</param>
    public static void Check(string folder, GoldenModel model)
    {
        using ExpectedTensors expected = new(folder);
        using GoldenModel golden = model;
        HarnessSequence[] batch = [.. Enumerable.Range(0, expected.Count("seq")).Select(i => new HarnessSequence(expected.Ints($"seq{i}.input_ids")))];
        Assert.NotEmpty(batch);

        float[][] whole = golden.Harness.Logits(batch);
        float[][] chunked = golden.Harness.Logits(batch, chunk: 3);
        int[][] greedy = golden.Harness.Greedy(batch, expected.Ints("seq0.greedy").Length);

        for (int i = 0; i < batch.Length; i++)
        {
            Tolerance.AssertClose(expected.Floats($"seq{i}.logits"), whole[i], Bound, $"sequence {i}");
            Assert.Equal(whole[i], chunked[i]);
            Assert.Equal(golden.Harness.Logits([batch[i]])[0], whole[i]);
            Assert.Equal(expected.Ints($"seq{i}.greedy"), greedy[i]);
        }
    }
}
