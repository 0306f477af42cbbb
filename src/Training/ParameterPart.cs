namespace InferenceServer.Training;

/// <summary>A tensor of the exported file inside a <see cref="Parameter"/>.</summary>
/// <param name="Name">Its name, without PEFT's prefix.</param>
/// <param name="Offset">First element in the parameter.</param>
/// <param name="Shape">Its shape in the parameter; Conv1D's file keeps it transposed.</param>
public sealed record ParameterPart(string Name, long Offset, long[] Shape)
{
    /// <summary>Elements.</summary>
    public long Count => Shape.Aggregate(1L, (count, dimension) => count * dimension);
}
