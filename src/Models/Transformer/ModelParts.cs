using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>A model's weights on the device.</summary>
internal sealed record ModelParts(WeightMatrix Embedding, WeightMatrix? Positions, DecoderLayer[] Layers, Norm FinalNorm, Linear Head) : IDisposable
{
    /// <summary>Every linear layer, the output head included.</summary>
    public IEnumerable<Linear> Linears => Layers.SelectMany(layer => layer.Linears).Append(Head);

    /// <summary>The same parts over the base weights, whatever is merged here; they share the memory and must not be disposed.</summary>
    public ModelParts Unmerged() => this with
    {
        Layers =
        [
            .. Layers.Select(layer => layer with
            {
                Qkv = layer.Qkv.Unmerged(),
                Output = layer.Output.Unmerged(),
                Up = layer.Up.Unmerged(),
                Down = layer.Down.Unmerged(),
            }),
        ],
        Head = Head.Unmerged(),
    };

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
