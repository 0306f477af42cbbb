namespace InferenceServer.Training.Starts;

/// <summary>
/// OLoRA (arXiv 2406.01775): with <c>W = Q R</c>, B is the first R columns of Q and A the first R rows of R. Q's first columns depend on W's
/// first columns only, and A is <c>B^T W</c>.
/// </summary>
internal static class OloraStart
{
    /// <param name="weight">W, <c>[out, in]</c>.</param>
    /// <param name="outFeatures">Rows.</param>
    /// <param name="inFeatures">Columns.</param>
    /// <param name="rank">R.</param>
    /// <param name="scale">s.</param>
    public static LowRankStart Create(ReadOnlySpan<float> weight, int outFeatures, int inFeatures, int rank, float scale)
    {
        int count = Math.Min(rank, Math.Min(outFeatures, inFeatures));
        double[][] columns = new double[count][];
        for (int r = 0; r < count; r++)
        {
            double[] column = new double[outFeatures];
            for (int o = 0; o < outFeatures; o++)
            {
                column[o] = weight[(o * inFeatures) + r];
            }

            // Twice: once leaves what rounding left of the others when columns are nearly parallel.
            for (int pass = 0; pass < 2; pass++)
            {
                for (int before = 0; before < r; before++)
                {
                    double part = Dot(column, columns[before]);
                    for (int o = 0; o < outFeatures; o++)
                    {
                        column[o] -= part * columns[before][o];
                    }
                }
            }

            double length = Math.Sqrt(Dot(column, column));
            for (int o = 0; o < outFeatures; o++)
            {
                column[o] = length > 0 ? column[o] / length : 0;
            }

            columns[r] = column;
        }

        float[] a = new float[rank * inFeatures];
        float[] b = new float[outFeatures * rank];
        for (int r = 0; r < count; r++)
        {
            double[] row = new double[inFeatures];
            for (int o = 0; o < outFeatures; o++)
            {
                b[(o * rank) + r] = (float)columns[r][o];
                for (int i = 0; i < inFeatures; i++)
                {
                    row[i] += columns[r][o] * weight[(o * inFeatures) + i];
                }
            }

            for (int i = 0; i < inFeatures; i++)
            {
                a[(r * inFeatures) + i] = (float)row[i];
            }
        }

        return new LowRankStart(a, b, scale);
    }

    private static double Dot(double[] x, double[] y)
    {
        double sum = 0;
        for (int i = 0; i < x.Length; i++)
        {
            sum += x[i] * y[i];
        }

        return sum;
    }
}
