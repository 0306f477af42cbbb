using System.Runtime.InteropServices;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.TinyModel;

/// <summary>Named tensors of seeded random numbers, stored as f32 or bf16.</summary>
internal sealed class RandomWeights
{
    private readonly Random _random;
    private readonly DType _type;

    public RandomWeights(int seed, DType type)
    {
        if (type is not (DType.F32 or DType.BF16))
        {
            throw new ArgumentException($"random weights are stored as F32 or BF16, not {type}", nameof(type));
        }

        _random = new Random(seed);
        _type = type;
    }

    public SafetensorsWriter.Tensor Matrix(string name, int rows, int columns, float scale)
    {
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.Length; i++)
        {
            // Uniform with the standard deviation asked for; the shape of the distribution does not matter here.
            values[i] = (float)((_random.NextDouble() - 0.5) * Math.Sqrt(12)) * scale;
        }

        return Stored(name, [rows, columns], values);
    }

    public SafetensorsWriter.Tensor Norm(string name, int size)
    {
        float[] values = new float[size];
        for (int i = 0; i < size; i++)
        {
            values[i] = 0.8f + (0.4f * (float)_random.NextDouble());
        }

        return Stored(name, [size], values);
    }

    private SafetensorsWriter.Tensor Stored(string name, long[] shape, float[] values)
    {
        if (_type == DType.F32)
        {
            return SafetensorsWriter.FromSingles(name, shape, values);
        }

        byte[] data = new byte[values.Length * sizeof(ushort)];
        Span<ushort> bits = MemoryMarshal.Cast<byte, ushort>(data.AsSpan());
        for (int i = 0; i < values.Length; i++)
        {
            bits[i] = BFloat16.FromSingle(values[i]);
        }

        return new SafetensorsWriter.Tensor(name, DType.BF16, shape, data);
    }
}
