namespace InferenceServer.Tensors.Safetensors;

/// <summary>One tensor of a safetensors file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Dimensions; empty for a scalar.</param>
/// <param name="Offset">First byte in the file.</param>
/// <param name="ByteCount">Bytes of the data.</param>
public sealed record SafetensorsEntry(string Name, DType Type, long[] Shape, long Offset, long ByteCount)
{
    /// <summary>Number of elements.</summary>
    public long ElementCount => ByteCount / Type.ByteSize();

    /// <summary>The dimensions as <c>[a, b]</c>.</summary>
    public string ShapeText => $"[{string.Join(", ", Shape)}]";
}
