using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Which kernel attention takes, and that the order of threads does not matter to it.</summary>
[Collection(StandInCollection.Name)]
public sealed class AttentionKernelTests
{
    [StandInTheory]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 64, 16, "prefill_attention_64")]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 80, 16, "prefill_attention_80")]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 96, 16, "prefill_attention_96")]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 128, 16, "prefill_attention_128")]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 256, 16, "prefill_attention_256")]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 64, 15, "decode_attention_64")]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 32, 16, "decode_attention_64")]
    [InlineData(CudaProducts.Auto, WeightFormat.F32, 64, 16, "plain_attention_f32")]
    [InlineData(CudaProducts.Exact, WeightFormat.BF16, 80, 16, "decode_attention_128")]
    [InlineData(CudaProducts.Exact, WeightFormat.BF16, 256, 16, "decode_attention_256")]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 258, 16, "plain_attention_bf16")]
    public void Products_format_head_size_and_rows_choose_the_kernel(CudaProducts products, WeightFormat format, int headSize, int rows, string kernel)
    {
        using CudaBackend backend = CudaTestBackend.Create(products, keyValues: format);
        AttentionParameters parameters = new(1, 1, headSize, 1, 0, 0);
        StandIn.ResetCounters();

        AttentionSequence.Random(parameters, rows, 1).Attend(backend, parameters, 16, [rows], scattered: false);

        Assert.Equal([kernel], StandIn.KernelRuns.Keys.Where(name => name.Contains("attention", StringComparison.Ordinal)));
    }

    [StandInTheory]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 64)]
    [InlineData(CudaProducts.Auto, WeightFormat.BF16, 256)]
    [InlineData(CudaProducts.Exact, WeightFormat.BF16, 128)]
    [InlineData(CudaProducts.Exact, WeightFormat.BF16, 256)]
    [InlineData(CudaProducts.Exact, WeightFormat.F32, 20)]
    public void Attention_has_the_same_bits_under_every_schedule(CudaProducts products, WeightFormat format, int headSize)
    {
        using CudaBackend backend = CudaTestBackend.Create(products, keyValues: format);
        AttentionParameters parameters = new(3, 1, headSize, 0.1f, 25, 270);
        AttentionSequence sequence = AttentionSequence.Random(parameters, 290, 9);

        Schedules.SameBitsUnderAll(() =>
        {
            using KvCache cache = backend.CreateKvCache(new KvCacheShape(1, 19, 16, 1, headSize, format));
            int[] blocks = [.. Enumerable.Range(0, 19)];
            StepInputs step = new(512, 1);
            sequence.Store(backend, cache, 272, blocks);
            return AttentionSequence.AttendStep(backend, cache, parameters, step, [(sequence, 272, 18, blocks)]);
        });
    }
}
