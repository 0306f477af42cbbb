using InferenceServer.Models.Configuration;
using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>The activations of one step, taken once so that a step allocates nothing. Sizes are for the largest step.</summary>
public sealed class Workspace : IDisposable
{
    private readonly List<DeviceBuffer> _buffers = [];
    private readonly IComputeBackend _backend;

    public Workspace(IComputeBackend backend, ModelConfig config, int maxTokens, int maxSampledRows)
    {
        _backend = backend;
        MaxTokens = maxTokens;
        MaxSampledRows = maxSampledRows;
        int queryWidth = config.HeadCount * config.HeadSize;
        int keyWidth = config.KvHeadCount * config.HeadSize;
        Hidden = Take(maxTokens, config.HiddenSize, "hidden states");
        Normed = Take(maxTokens, config.HiddenSize, "normed states");
        Delta = Take(maxTokens, config.HiddenSize, "layer outputs");
        Qkv = Take(maxTokens, queryWidth + (2 * keyWidth), "queries, keys, values");
        Attended = Take(maxTokens, queryWidth, "attention outputs");
        Up = Take(maxTokens, config.IsGated ? 2 * config.IntermediateSize : config.IntermediateSize, "feed-forward up");
        Activated = config.IsGated ? Take(maxTokens, config.IntermediateSize, "feed-forward activations") : Up;
        Sampled = Take(maxSampledRows, config.HiddenSize, "sampled states");
        SampledNormed = Take(maxSampledRows, config.HiddenSize, "sampled normed states");
        Logits = Take(maxSampledRows, config.VocabularySize, "logits");
        Scratch = new ScratchPool(backend);
    }

    public int MaxTokens { get; }

    public int MaxSampledRows { get; }

    public TensorView Hidden { get; }

    public TensorView Normed { get; }

    public TensorView Delta { get; }

    public TensorView Qkv { get; }

    public TensorView Attended { get; }

    public TensorView Up { get; }

    /// <summary>Input of the down projection; the same memory as <see cref="Up"/> when there is no gate.</summary>
    public TensorView Activated { get; }

    public TensorView Sampled { get; }

    public TensorView SampledNormed { get; }

    public TensorView Logits { get; }

    public ScratchPool Scratch { get; }

    public void Dispose()
    {
        Scratch.Dispose();
        foreach (DeviceBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }
    }

    private TensorView Take(int rows, int columns, string label)
    {
        DeviceBuffer buffer = _backend.Allocate((long)rows * columns * sizeof(float), label);
        _buffers.Add(buffer);
        return new TensorView(buffer, rows, columns);
    }
}
