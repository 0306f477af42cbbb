using InferenceServer.Tensors;

namespace InferenceServer.Models.Configuration;

/// <summary>
/// Cosines and sines of every position. Frequencies and angles are rounded to f32 where transformers does, so that long positions
/// agree with it.
/// </summary>
public static class RopeTableBuilder
{
    /// <summary>Builds the table for positions 0 to <paramref name="maxPositions"/> - 1.</summary>
    /// <returns>Cosines and sines, each <c>[maxPositions, rotary size / 2]</c>.</returns>
    public static (float[] Cos, float[] Sin) Build(ModelConfig config, int maxPositions)
    {
        int half = config.RotarySize / 2;
        (float[] frequencies, float magnitude) = Frequencies(config, maxPositions);
        float[] cos = new float[(long)maxPositions * half];
        float[] sin = new float[(long)maxPositions * half];
        for (int position = 0; position < maxPositions; position++)
        {
            for (int i = 0; i < half; i++)
            {
                float angle = position * frequencies[i];
                cos[((long)position * half) + i] = (float)Math.Cos(angle) * magnitude;
                sin[((long)position * half) + i] = (float)Math.Sin(angle) * magnitude;
            }
        }

        return (cos, sin);
    }

    /// <summary>Uploads the table.</summary>
    public static RopeTable Create(IComputeBackend backend, ModelConfig config, int maxPositions)
    {
        (float[] cos, float[] sin) = Build(config, maxPositions);
        DeviceBuffer cosines = backend.Allocate((long)cos.Length * sizeof(float), "rope cosines");
        DeviceBuffer sines = backend.Allocate((long)sin.Length * sizeof(float), "rope sines");
        backend.Write(cos, cosines);
        backend.Write(sin, sines);
        return new RopeTable(cosines, sines, config.RotarySize, maxPositions);
    }

    private static (float[] Frequencies, float Magnitude) Frequencies(ModelConfig config, int maxPositions)
    {
        int size = config.RotarySize;
        double theta = config.RopeTheta;
        switch (config.RopeScaling)
        {
            case RopeScaling.Linear linear:
                return (Scaled(Plain(theta, size), _ => linear.Factor), 1f);
            case RopeScaling.Dynamic dynamic:
                // transformers' formula with the sequence length replaced by the longest that this server accepts.
                double stretch = Math.Max(maxPositions, dynamic.TrainedLength) / (double)dynamic.TrainedLength;
                double grown = theta * Math.Pow((dynamic.Factor * stretch) - (dynamic.Factor - 1), size / (size - 2.0));
                return (Plain(stretch > 1 ? grown : theta, size), 1f);
            case RopeScaling.Llama3 llama:
                return (Llama3(Plain(theta, size), llama), 1f);
            case RopeScaling.Yarn yarn:
                return (Yarn(theta, size, yarn), (float)yarn.AttentionFactor);
            case RopeScaling.LongRope rope:
                float[] factors = maxPositions > rope.TrainedLength ? rope.LongFactors : rope.ShortFactors;
                if (factors.Length != size / 2)
                {
                    throw new ModelFormatException("config.json", $"rope_scaling has {factors.Length} factors for {size / 2} frequencies");
                }

                return (Scaled(Plain(theta, size), i => factors[i]), (float)rope.AttentionFactor);
            default:
                return (Plain(theta, size), 1f);
        }
    }

    private static float[] Plain(double theta, int size)
    {
        float[] frequencies = new float[size / 2];
        for (int i = 0; i < frequencies.Length; i++)
        {
            frequencies[i] = (float)(1 / Math.Pow(theta, 2.0 * i / size));
        }

        return frequencies;
    }

    private static float[] Scaled(float[] frequencies, Func<int, double> factor)
    {
        for (int i = 0; i < frequencies.Length; i++)
        {
            frequencies[i] = (float)(frequencies[i] / factor(i));
        }

        return frequencies;
    }

    private static float[] Llama3(float[] frequencies, RopeScaling.Llama3 scaling)
    {
        double longest = scaling.TrainedLength / scaling.LowFrequencyFactor;
        double shortest = scaling.TrainedLength / scaling.HighFrequencyFactor;
        for (int i = 0; i < frequencies.Length; i++)
        {
            double wavelength = 2 * Math.PI / frequencies[i];
            if (wavelength > longest)
            {
                frequencies[i] = (float)(frequencies[i] / scaling.Factor);
            }
            else if (wavelength >= shortest)
            {
                double smooth = ((scaling.TrainedLength / wavelength) - scaling.LowFrequencyFactor)
                    / (scaling.HighFrequencyFactor - scaling.LowFrequencyFactor);
                frequencies[i] = (float)(((1 - smooth) * frequencies[i] / scaling.Factor) + (smooth * frequencies[i]));
            }
        }

        return frequencies;
    }

    private static float[] Yarn(double theta, int size, RopeScaling.Yarn yarn)
    {
        // Dimension whose wavelength makes this many rotations over the trained length.
        double Dimension(double rotations) => size * Math.Log(yarn.TrainedLength / (rotations * 2 * Math.PI)) / (2 * Math.Log(theta));

        double low = Dimension(yarn.BetaFast);
        double high = Dimension(yarn.BetaSlow);
        if (yarn.Truncate)
        {
            low = Math.Floor(low);
            high = Math.Ceiling(high);
        }

        low = Math.Max(low, 0);
        high = Math.Min(high, size - 1);
        if (low == high)
        {
            high += 0.001;
        }

        float[] frequencies = Plain(theta, size);
        for (int i = 0; i < frequencies.Length; i++)
        {
            double ramp = Math.Clamp((i - low) / (high - low), 0, 1);
            double extrapolated = frequencies[i];
            frequencies[i] = (float)((extrapolated / yarn.Factor * ramp) + (extrapolated * (1 - ramp)));
        }

        return frequencies;
    }
}
