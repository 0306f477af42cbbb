using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Weights;

/// <summary>
/// How a weight matrix <c>[out, in]</c> lies in device memory: units of 16 outputs one after the other, then the scales of all units. Packing and
/// reading back are the host's.
/// </summary>
internal abstract class WeightLayout
{
    /// <summary>Changes with any layout: bytes that were packed under another version are not read.</summary>
    public const int Version = 1;

    /// <summary>Outputs of a unit: the rows of a tensor core's tile.</summary>
    public const int UnitRows = 16;

    protected WeightLayout(int rows, int columns)
    {
        Rows = rows;
        Columns = columns;
        UnitCount = (rows + UnitRows - 1) / UnitRows;
    }

    public int Rows { get; }

    public int Columns { get; }

    public int UnitCount { get; }

    /// <summary>What kernels step by: elements from one row to the next, or the records of a unit where a unit consists of records.</summary>
    public abstract int Stride { get; }

    /// <summary>Bytes of a unit without its scales; a multiple of 16.</summary>
    public abstract long UnitBytes { get; }

    /// <summary>Bytes of a unit's scales; a multiple of 16, and 0 where there are none.</summary>
    public virtual long UnitScaleBytes => 0;

    /// <summary>Bytes before the scales.</summary>
    public long WeightBytes => UnitCount * UnitBytes;

    public long ByteCount => WeightBytes + (UnitCount * UnitScaleBytes);

    public static WeightLayout Create(int rows, int columns, WeightFormat format, string label) => format switch
    {
        WeightFormat.F32 => new Float32Rows(rows, columns),
        WeightFormat.BF16 => new BFloat16Rows(rows, columns),
        WeightFormat.Int8 => new Int8Tiles(rows, columns),
        WeightFormat.NF4 => new NF4Tiles(rows, columns),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, $"weight format of '{label}'"),
    };

    /// <summary>Packs one row; several threads may pack rows of different units.</summary>
    /// <param name="weights">The row.</param>
    /// <param name="row">Its place in the unit.</param>
    /// <param name="unit">The unit, zeroed before its first row.</param>
    /// <param name="scales">The unit's scales, zeroed likewise.</param>
    /// <exception cref="InvalidDataException">A weight to be quantised is not finite.</exception>
    public abstract void PackRow(ReadOnlySpan<float> weights, int row, Span<byte> unit, Span<byte> scales);

    /// <summary>Rounds the scales when all rows are packed.</summary>
    /// <param name="scales">Those of all units.</param>
    public virtual void Finish(Span<byte> scales)
    {
    }

    /// <summary>Unpacks one row.</summary>
    /// <param name="unit">Its unit.</param>
    /// <param name="scales">The unit's scales.</param>
    /// <param name="row">Its place in the unit.</param>
    /// <param name="target">As many floats as there are inputs.</param>
    public abstract void ReadRow(ReadOnlySpan<byte> unit, ReadOnlySpan<byte> scales, int row, Span<float> target);
}
