using InferenceServer.AdapterStore;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Training.Starts;

/// <summary>Start values of parameters: from an adapter's file, where it has them, else drawn from a seed.</summary>
internal sealed class StartValues
{
    private readonly SafetensorsFile? _file;
    private readonly Random _random;

    /// <param name="file">An adapter to go on from, or null.</param>
    /// <param name="seed">Seed of everything drawn.</param>
    public StartValues(SafetensorsFile? file, int seed)
    {
        _file = file;
        _random = new Random(seed);
    }

    /// <summary>The tensor of this full name, or fresh values when there is no file.</summary>
    /// <exception cref="AdapterFormatException">The file lacks it, or has it in another size.</exception>
    public float[] Get(string name, long count, Func<float[]> fresh)
    {
        if (_file is null)
        {
            return fresh();
        }

        if (!_file.Entries.TryGetValue(name, out SafetensorsEntry? entry) || entry.ElementCount != count)
        {
            throw new AdapterFormatException(
                _file.Name, name, $"a tensor of {count} elements", entry is null ? "no such tensor" : $"shape {entry.ShapeText}");
        }

        return _file.ReadSingles(entry);
    }

    /// <summary>PyTorch's <c>kaiming_uniform_(a=sqrt(5))</c>: uniform within <c>1 / sqrt(fan in)</c>.</summary>
    public float[] KaimingUniform(long count, int fanIn) => Uniform(count, 1 / Math.Sqrt(fanIn));

    /// <summary>Uniform in +-bound.</summary>
    public float[] Uniform(long count, double bound)
    {
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)(((2 * _random.NextDouble()) - 1) * bound);
        }

        return values;
    }

    /// <summary>Normal about 0.</summary>
    public float[] Normal(long count, double deviation)
    {
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
        {
            // Box and Muller; 1 - u lies in (0, 1], so the logarithm is finite.
            double radius = Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble()));
            values[i] = (float)(deviation * radius * Math.Cos(2 * Math.PI * _random.NextDouble()));
        }

        return values;
    }

    /// <summary>The same value everywhere.</summary>
    public static float[] Constant(long count, float value)
    {
        float[] values = new float[count];
        Array.Fill(values, value);
        return values;
    }
}
