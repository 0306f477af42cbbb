using System.Numerics.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Models.Checkpoints;

/// <summary>One tensor of a checkpoint, read in parts as f32; every part is checked for NaN and infinity.</summary>
public readonly record struct CheckpointTensor(SafetensorsFile File, SafetensorsEntry Entry)
{
    /// <summary>Reads elements in row-major order.</summary>
    /// <exception cref="ModelFormatException">A value is not finite.</exception>
    public void Read(long firstElement, Span<float> destination)
    {
        File.ReadSingles(Entry, firstElement, destination);

        // MaxMagnitude gives NaN when any element is NaN, so one pass finds both.
        if (destination.Length > 0 && !float.IsFinite(TensorPrimitives.MaxMagnitude(destination)))
        {
            throw new ModelFormatException(File.Name, $"tensor '{Entry.Name}' holds NaN or infinity");
        }
    }

    /// <summary>Gives back the memory of what was read; see <see cref="SafetensorsFile.Release"/>.</summary>
    public void Release() => File.Release(Entry);

    /// <summary>The whole tensor.</summary>
    public float[] ReadAll()
    {
        float[] values = new float[Entry.ElementCount];
        Read(0, values);
        return values;
    }

    /// <summary>Reads rows of a 2-d tensor, or, when transposed, columns as rows (GPT-2's Conv1D keeps <c>[in, out]</c>).</summary>
    public void ReadRows(int firstRow, Span<float> destination, bool transposed)
    {
        if (!transposed)
        {
            Read(firstRow * Entry.Shape[1], destination);
            return;
        }

        int columns = (int)Entry.Shape[0];
        int rows = destination.Length / columns;
        float[] part = new float[rows];
        for (int column = 0; column < columns; column++)
        {
            Read((column * Entry.Shape[1]) + firstRow, part);
            for (int row = 0; row < rows; row++)
            {
                destination[(row * columns) + column] = part[row];
            }
        }
    }
}
