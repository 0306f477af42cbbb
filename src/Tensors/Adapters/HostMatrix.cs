namespace InferenceServer.Tensors.Adapters;

/// <summary>A dense row-major f32 matrix in host memory.</summary>
/// <param name="Rows">Rows.</param>
/// <param name="Columns">Columns.</param>
/// <param name="Values">The elements, <c>Rows * Columns</c> of them.</param>
public sealed record HostMatrix(int Rows, int Columns, float[] Values)
{
    /// <summary>One row.</summary>
    public ReadOnlySpan<float> Row(int row) => Values.AsSpan(row * Columns, Columns);

    /// <summary>Bytes of the elements.</summary>
    public long ByteCount => (long)Values.Length * sizeof(float);
}
