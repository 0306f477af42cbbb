using InferenceServer.Tensors;

namespace InferenceServer.TestKit.ReferenceMaths;

/// <summary>The formulas of <see cref="IComputeBackend"/> once more, in f64 and in the plainest way; what backends are held against.</summary>
public static class Reference
{
    /// <summary><c>x W^T</c>.</summary>
    public static double[] MatMul(HostTensor x, HostTensor weight)
    {
        double[] y = new double[x.Rows * weight.Rows];
        for (int t = 0; t < x.Rows; t++)
        {
            for (int o = 0; o < weight.Rows; o++)
            {
                double sum = 0;
                for (int i = 0; i < x.Columns; i++)
                {
                    sum += (double)x[t, i] * weight[o, i];
                }

                y[(t * weight.Rows) + o] = sum;
            }
        }

        return y;
    }

    /// <summary><c>x / sqrt(mean(x^2) + eps) * (offset + weight)</c>.</summary>
    public static double[] RmsNorm(HostTensor x, float[] weight, float offset, float epsilon)
    {
        double[] y = new double[x.Values.Length];
        for (int t = 0; t < x.Rows; t++)
        {
            double sum = 0;
            foreach (float value in x.Row(t))
            {
                sum += (double)value * value;
            }

            for (int h = 0; h < x.Columns; h++)
            {
                y[(t * x.Columns) + h] = x[t, h] / Math.Sqrt((sum / x.Columns) + epsilon) * ((double)offset + weight[h]);
            }
        }

        return y;
    }

    /// <summary><c>(x - mean) / sqrt(var + eps) * weight + bias</c>.</summary>
    public static double[] LayerNorm(HostTensor x, float[] weight, float[]? bias, float epsilon)
    {
        double[] y = new double[x.Values.Length];
        for (int t = 0; t < x.Rows; t++)
        {
            double mean = 0;
            foreach (float value in x.Row(t))
            {
                mean += value;
            }

            mean /= x.Columns;
            double variance = 0;
            foreach (float value in x.Row(t))
            {
                variance += (value - mean) * (value - mean);
            }

            variance /= x.Columns;
            for (int h = 0; h < x.Columns; h++)
            {
                y[(t * x.Columns) + h] = ((x[t, h] - mean) / Math.Sqrt(variance + epsilon) * weight[h]) + (bias?[h] ?? 0);
            }
        }

        return y;
    }

    /// <summary>One value through an activation.</summary>
    public static double Activate(Activation activation, double x) => activation switch
    {
        Activation.Silu => x / (1 + Math.Exp(-x)),
        Activation.GeluTanh => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))),
        Activation.Gelu => 0.5 * x * (1 + Erf(x / Math.Sqrt(2))),
        Activation.Relu => Math.Max(x, 0),
        _ => throw new ArgumentOutOfRangeException(nameof(activation), activation, "unknown activation"),
    };

    /// <summary>The error function: Taylor series near 0, continued fraction of erfc beyond.</summary>
    public static double Erf(double x)
    {
        double size = Math.Abs(x);
        if (size > 6)
        {
            return Math.Sign(x);
        }

        if (size < 2.5)
        {
            double term = size;
            double sum = size;
            for (int n = 1; n < 80; n++)
            {
                term *= -size * size / n;
                sum += term / ((2 * n) + 1);
            }

            return Math.CopySign(2 / Math.Sqrt(Math.PI) * sum, x);
        }

        double fraction = 0;
        for (int n = 60; n >= 1; n--)
        {
            fraction = n / 2.0 / (size + fraction);
        }

        return Math.CopySign(1 - (Math.Exp(-size * size) / Math.Sqrt(Math.PI) / (size + fraction)), x);
    }

    /// <summary>
    /// Attention of one sequence: q <c>[T, Q D]</c> are its last T positions, k and v <c>[context, K D]</c> all of it.
    /// </summary>
    public static double[] Attention(HostTensor q, HostTensor k, HostTensor v, AttentionParameters parameters)
    {
        int d = parameters.HeadSize;
        int group = parameters.Heads / parameters.KvHeads;
        double[] y = new double[q.Values.Length];
        for (int t = 0; t < q.Rows; t++)
        {
            int position = k.Rows - q.Rows + t;
            int first = parameters.Window > 0 ? Math.Max(0, position - parameters.Window + 1) : 0;
            for (int head = 0; head < parameters.Heads; head++)
            {
                int kvHead = head / group;
                double[] scores = new double[position + 1];
                double max = double.NegativeInfinity;
                for (int j = first; j <= position; j++)
                {
                    double score = 0;
                    for (int i = 0; i < d; i++)
                    {
                        score += (double)q[t, (head * d) + i] * k[j, (kvHead * d) + i];
                    }

                    score *= parameters.Scale;
                    scores[j] = parameters.SoftCap > 0 ? parameters.SoftCap * Math.Tanh(score / parameters.SoftCap) : score;
                    max = Math.Max(max, scores[j]);
                }

                double sum = 0;
                for (int j = first; j <= position; j++)
                {
                    scores[j] = Math.Exp(scores[j] - max);
                    sum += scores[j];
                }

                for (int j = first; j <= position; j++)
                {
                    for (int i = 0; i < d; i++)
                    {
                        y[(t * q.Columns) + (head * d) + i] += scores[j] / sum * v[j, (kvHead * d) + i];
                    }
                }
            }
        }

        return y;
    }
}
