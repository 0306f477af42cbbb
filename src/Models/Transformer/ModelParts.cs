using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>A model's weights on the device.</summary>
internal sealed record ModelParts(WeightMatrix Embedding, WeightMatrix? Positions, DecoderLayer[] Layers, Norm FinalNorm, Linear Head) : IDisposable
{
    /// <summary>Every linear layer, the output head included.</summary>
    public IEnumerable<Linear> Linears => Layers.SelectMany(layer => layer.Linears).Append(Head);

    public void Dispose()
    {
        foreach (DecoderLayer layer in Layers)
        {
            layer.Dispose();
        }

        FinalNorm.Dispose();
        Head.Dispose();
        Positions?.Dispose();
        Embedding.Dispose();
    }
}
