namespace InferenceServer.TestKit.ReferenceMaths;

/// <summary>A row-major f32 matrix on the host, with a seeded maker.</summary>
public sealed class HostTensor
{
    public HostTensor(int rows, int columns)
    {
        Rows = rows;
        Columns = columns;
        Values = new float[rows * columns];
    }

    public int Rows { get; }

    public int Columns { get; }

    public float[] Values { get; }

    public float this[int row, int column]
    {
        get => Values[(row * Columns) + column];
        set => Values[(row * Columns) + column] = value;
    }

    /// <summary>Uniform values in [-scale, scale), the same for the same seed.</summary>
    public static HostTensor Random(int rows, int columns, int seed, float scale = 1)
    {
        Random random = new(seed);
        HostTensor tensor = new(rows, columns);
        for (int i = 0; i < tensor.Values.Length; i++)
        {
            tensor.Values[i] = ((random.NextSingle() * 2) - 1) * scale;
        }

        return tensor;
    }

    public ReadOnlySpan<float> Row(int row) => Values.AsSpan(row * Columns, Columns);

    /// <summary>A copy of consecutive rows.</summary>
    public HostTensor Slice(int first, int count)
    {
        HostTensor slice = new(count, Columns);
        Values.AsSpan(first * Columns, count * Columns).CopyTo(slice.Values);
        return slice;
    }

    /// <summary>A copy with every value's size.</summary>
    public HostTensor Absolute()
    {
        HostTensor absolute = new(Rows, Columns);
        for (int i = 0; i < Values.Length; i++)
        {
            absolute.Values[i] = MathF.Abs(Values[i]);
        }

        return absolute;
    }

    /// <summary>A copy with every value rounded to bf16.</summary>
    public HostTensor RoundedToBFloat16()
    {
        HostTensor rounded = new(Rows, Columns);
        for (int i = 0; i < Values.Length; i++)
        {
            rounded.Values[i] = Tensors.BFloat16.ToSingle(Tensors.BFloat16.FromSingle(Values[i]));
        }

        return rounded;
    }
}
