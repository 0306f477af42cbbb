using InferenceServer.Cuda;
using InferenceServer.Tensors.Sampling;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>A token drawn on the device is the one that the engine's sampler draws.</summary>
[Collection(StandInCollection.Name)]
public sealed class SamplingTests
{
    [StandInTheory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(31)]
    [InlineData(33)]
    [InlineData(1009)]
    [InlineData(4096)]
    [InlineData(4097)]
    public void Every_mix_of_rules_and_filters_draws_what_the_host_draws(int vocabularySize)
    {
        using CudaBackend backend = CudaTestBackend.Create();
        for (int kind = 0; kind < 4; kind++)
        {
            Random random = new(vocabularySize + kind);
            SamplingBatch batch = new();
            const int Rows = 12;
            for (int row = 0; row < Rows; row++)
            {
                SamplingBench.AddRandom(batch, vocabularySize, random);
            }

            SamplingBench.AssertAsTheHost(backend, SamplingBench.Logits(Rows, vocabularySize, kind, random), batch, $"V {vocabularySize}, kind {kind}");
        }
    }
}
