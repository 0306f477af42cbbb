using System.Numerics.Tensors;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Engine.Merging;

/// <summary>
/// Measures what a merge does to logits: the same two sequences, one of the merged tenant and one without any adapter, through a view of
/// the model before and after. The serving model, its steps and its KV cache are not touched.
/// </summary>
internal static class MergeProbe
{
    private const int BlockSize = 16;
    private const int MaxTokens = 16;
    private const int Seed = 1;

    /// <param name="model">The serving model.</param>
    /// <param name="backend">A backend of the model's kind that runs nothing else meanwhile.</param>
    /// <param name="adapter">The adapter as its rows have it now.</param>
    /// <param name="merged">What is to be installed.</param>
    public static LogitChange Measure(TransformerModel model, IComputeBackend backend, DeviceAdapter adapter, MergedState merged)
    {
        int tokens = Math.Min(MaxTokens, model.MaxModelLength);
        using TransformerModel view = model.CreateView(backend, 2 * tokens, 2 * tokens);
        using KvCache cache = backend.CreateKvCache(view.KvShape(2, BlockSize));
        StepInputs step = new(2 * tokens, 2);

        FillTokens(step, tokens, view.Config.VocabularySize);
        AddRows(step.Lora, step.SampledLora, 0, tokens, adapter);
        float[] before = Run(view, backend, step, cache);

        FillTokens(step, tokens, view.Config.VocabularySize);
        if (merged.Residual is { } residual)
        {
            AddRows(step.Lora, step.SampledLora, 0, tokens, residual);
        }

        AddRows(step.Restore, step.SampledRestore, tokens, tokens, merged.Inverse!);
        view.Install(merged.Folded);
        float[] after = Run(view, backend, step, cache);

        float largest = Math.Abs(TensorPrimitives.MaxMagnitude(before));
        TensorPrimitives.Subtract(after, before, after);
        int half = after.Length / 2;
        return new LogitChange(Largest(after.AsSpan(0, half)), Largest(after.AsSpan(half)), largest);
    }

    /// <summary>The same tokens, spread over the vocabulary, for the tenant's rows and then for those of the base; all are sampled.</summary>
    private static void FillTokens(StepInputs step, int count, int vocabulary)
    {
        Random random = new(Seed);
        int[] tokens = [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];
        step.Clear();
        step.AddSequence(tokens, 0, [0]);
        step.AddSequence(tokens, 0, [1]);
        for (int row = 0; row < 2 * count; row++)
        {
            step.AddSampledRow(row);
        }
    }

    private static void AddRows(LoraBatch rows, LoraBatch sampled, int first, int count, DeviceAdapter adapter)
    {
        rows.BeginGroup(first, count);
        rows.AddEntry(adapter, 1f);
        sampled.BeginGroup(first, count);
        sampled.AddEntry(adapter, 1f);
    }

    private static float[] Run(TransformerModel model, IComputeBackend backend, StepInputs step, KvCache cache)
    {
        TensorView logits = model.Forward(step, cache);
        float[] values = new float[logits.Rows * logits.Columns];
        backend.Read(logits, values);
        return values;
    }

    // NaN when any is: a merge that breaks the logits does not look like a small one.
    private static float Largest(ReadOnlySpan<float> changes) => Math.Abs(TensorPrimitives.MaxMagnitude(changes));
}
