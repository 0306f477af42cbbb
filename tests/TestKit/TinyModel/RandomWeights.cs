using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.TinyModel;

/// <summary>Named f32 tensors of seeded random numbers.</summary>
internal sealed class RandomWeights
{
    private readonly Random _random;

    public RandomWeights(int seed) => _random = new Random(seed);

    public SafetensorsWriter.Tensor Matrix(string name, int rows, int columns, float scale)
    {
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.Length; i++)
        {
            // Uniform with the standard deviation asked for; the shape of the distribution does not matter here.
            values[i] = (float)((_random.NextDouble() - 0.5) * Math.Sqrt(12)) * scale;
        }

        return SafetensorsWriter.FromSingles(name, [rows, columns], values);
    }

    public SafetensorsWriter.Tensor Norm(string name, int size)
    {
        float[] values = new float[size];
        for (int i = 0; i < size; i++)
        {
            values[i] = 0.8f + (0.4f * (float)_random.NextDouble());
        }

        return SafetensorsWriter.FromSingles(name, [size], values);
    }
}
