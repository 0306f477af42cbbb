using InferenceServer.Tensors;

namespace InferenceServer.TestKit.ReferenceMaths;

/// <summary>Quantises and unpacks a matrix in f64, from the definitions, for comparison with a backend's own.</summary>
public static class QuantizedReference
{
    private const int Nf4Block = 64;
    private const int ScaleGroup = 256;
    private const int Int8Group = 32;

    /// <summary>
    /// QLoRA's 16 values (appendix E; bitsandbytes' create_normal_map): quantiles of the normal distribution at evenly spaced
    /// probabilities from 0.9677083 down to a half, 8 on the positive side and 7 on the negative, and 0; divided by the largest.
    /// </summary>
    public static double[] NormalFloat4Values()
    {
        const double Outermost = 0.9677083;
        IEnumerable<double> Side(int count) =>
            Enumerable.Range(0, count).Select(i => NormalQuantile(Outermost + (i * (0.5 - Outermost) / count)));
        double[] values = [.. Side(8), 0, .. Side(7).Select(x => -x)];
        double largest = values.Max();
        return [.. values.Select(x => x / largest).Order()];
    }

    /// <summary>The 256 numbers of double quantisation, as bitsandbytes' create_dynamic_map makes them: means of evenly spaced bounds.</summary>
    public static double[] DynamicByteValues()
    {
        List<double> values = [0, 1];
        for (int exponent = 0; exponent < 7; exponent++)
        {
            int steps = 1 << exponent;
            double[] bounds = [.. Enumerable.Range(0, steps + 1).Select(i => 0.1 + (0.9 * i / steps))];
            for (int i = 0; i < steps; i++)
            {
                double value = Math.Pow(10, exponent - 6) * (bounds[i] + bounds[i + 1]) / 2;
                values.Add(value);
                values.Add(-value);
            }
        }

        return [.. values.Order()];
    }

    /// <summary>The weights that a quantised matrix stands for, and the scale that each one's block has.</summary>
    public static (double[] Weights, double[] Scales) Unpack(HostTensor weight, WeightFormat format) =>
        format == WeightFormat.Int8 ? UnpackInt8(weight) : UnpackNF4(weight);

    private static (double[] Weights, double[] Scales) UnpackInt8(HostTensor weight)
    {
        double[] weights = new double[weight.Values.Length];
        double[] scales = new double[weight.Values.Length];
        foreach ((int[] block, double largest) in Blocks(weight, Int8Group))
        {
            // Rounded up to the 8 bits of a bf16.
            double step = largest == 0 ? 0 : Math.Pow(2, Math.Floor(Math.Log2(largest / 127)) - 7);
            double scale = step == 0 ? 0 : Math.Ceiling(largest / 127 / step) * step;
            foreach (int i in block)
            {
                weights[i] = scale == 0 ? 0 : Math.Round(weight.Values[i] / scale) * scale;
                scales[i] = largest;
            }
        }

        return (weights, scales);
    }

    private static (double[] Weights, double[] Scales) UnpackNF4(HostTensor weight)
    {
        double[] values = NormalFloat4Values();
        double[] bytes = DynamicByteValues();
        (int[] Indices, double Largest)[] blocks = [.. Blocks(weight, Nf4Block)];
        double mean = blocks.Average(block => block.Largest);
        double[] weights = new double[weight.Values.Length];
        double[] scales = new double[weight.Values.Length];
        foreach ((int[] Indices, double Largest)[] group in blocks.Chunk(ScaleGroup))
        {
            double largestScale = group.Max(block => Math.Abs(block.Largest - mean));
            foreach ((int[] indices, double largest) in group)
            {
                double kept = largestScale == 0 ? mean : (Nearest(bytes, (largest - mean) / largestScale) * largestScale) + mean;
                foreach (int i in indices)
                {
                    weights[i] = largest == 0 ? 0 : Nearest(values, weight.Values[i] / largest) * kept;
                    scales[i] = Math.Max(largest, mean);
                }
            }
        }

        return (weights, scales);
    }

    /// <summary>Indices of each block of a row's successive weights and its largest absolute weight, row by row.</summary>
    private static IEnumerable<(int[] Indices, double Largest)> Blocks(HostTensor weight, int size)
    {
        for (int row = 0; row < weight.Rows; row++)
        {
            for (int first = 0; first < weight.Columns; first += size)
            {
                int[] indices = [.. Enumerable.Range((row * weight.Columns) + first, Math.Min(size, weight.Columns - first))];
                yield return (indices, indices.Max(i => Math.Abs((double)weight.Values[i])));
            }
        }
    }

    private static double Nearest(double[] values, double x) => values.MinBy(value => Math.Abs(value - x));

    // Bisection on the distribution function; Simpson's rule integrates the density from 0.
    private static double NormalQuantile(double probability)
    {
        double low = 0;
        double high = 8;
        for (int i = 0; i < 60; i++)
        {
            double middle = (low + high) / 2;
            if (0.5 + CentralProbability(middle) < probability)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        return (low + high) / 2;
    }

    private static double CentralProbability(double x)
    {
        const int Pieces = 400;
        double sum = 0;
        for (int i = 0; i <= Pieces; i++)
        {
            double t = x * i / Pieces;
            double weight = i is 0 or Pieces ? 1 : i % 2 == 1 ? 4 : 2;
            sum += weight * Math.Exp(-t * t / 2);
        }

        return sum * x / Pieces / 3 / Math.Sqrt(2 * Math.PI);
    }
}
