namespace InferenceServer.Training.Starts;

/// <summary>
/// PiSSA (arXiv 2404.02948): with the singular values S of W, <c>B = U_r sqrt(S_r / s)</c> and <c>A = sqrt(S_r / s) V_r^T</c>, so that
/// s B A is the best rank-R approximation of W.
/// </summary>
internal static class PissaStart
{
    /// <summary>Sweeps after which the rotations have long converged (they do so quadratically, usually within 10).</summary>
    private const int MaxSweeps = 40;

    private const double Tolerance = 1e-13;

    /// <param name="weight">W, <c>[out, in]</c>.</param>
    /// <param name="outFeatures">Rows.</param>
    /// <param name="inFeatures">Columns.</param>
    /// <param name="rank">R.</param>
    /// <param name="scale">s.</param>
    public static LowRankStart Create(ReadOnlySpan<float> weight, int outFeatures, int inFeatures, int rank, float scale)
    {
        // One-sided Jacobi turns pairs of vectors until all are orthogonal; the shorter side gives fewer vectors.
        bool byRows = outFeatures <= inFeatures;
        int count = byRows ? outFeatures : inFeatures;
        int length = byRows ? inFeatures : outFeatures;
        double[][] vectors = new double[count][];
        double[][] turns = new double[count][];
        for (int i = 0; i < count; i++)
        {
            vectors[i] = new double[length];
            turns[i] = new double[count];
            turns[i][i] = 1;
            for (int j = 0; j < length; j++)
            {
                vectors[i][j] = byRows ? weight[(i * inFeatures) + j] : weight[(j * inFeatures) + i];
            }
        }

        Orthogonalise(vectors, turns);
        double[] values = [.. vectors.Select(vector => Math.Sqrt(Dot(vector, vector)))];
        int[] order = [.. Enumerable.Range(0, count).OrderByDescending(i => values[i])];
        float[] a = new float[rank * inFeatures];
        float[] b = new float[outFeatures * rank];
        for (int r = 0; r < Math.Min(rank, count); r++)
        {
            int i = order[r];
            double root = Math.Sqrt(values[i] / scale);

            // vector = value * unit on the long side, turns = the unit vector on the short side.
            double longFactor = values[i] > 0 ? root / values[i] : 0;
            for (int k = 0; k < inFeatures; k++)
            {
                a[(r * inFeatures) + k] = (float)(byRows ? longFactor * vectors[i][k] : root * turns[i][k]);
            }

            for (int k = 0; k < outFeatures; k++)
            {
                b[(k * rank) + r] = (float)(byRows ? root * turns[i][k] : longFactor * vectors[i][k]);
            }
        }

        return new LowRankStart(a, b, scale);
    }

    private static void Orthogonalise(double[][] vectors, double[][] turns)
    {
        bool changed = true;
        for (int sweep = 0; changed && sweep < MaxSweeps; sweep++)
        {
            changed = false;
            for (int p = 0; p < vectors.Length - 1; p++)
            {
                for (int q = p + 1; q < vectors.Length; q++)
                {
                    double alpha = Dot(vectors[p], vectors[p]);
                    double beta = Dot(vectors[q], vectors[q]);
                    double gamma = Dot(vectors[p], vectors[q]);
                    if (Math.Abs(gamma) <= Tolerance * Math.Sqrt(alpha * beta))
                    {
                        continue;
                    }

                    changed = true;
                    double zeta = (beta - alpha) / (2 * gamma);
                    double tangent = Math.CopySign(1, zeta) / (Math.Abs(zeta) + Math.Sqrt(1 + (zeta * zeta)));
                    double cosine = 1 / Math.Sqrt(1 + (tangent * tangent));
                    Turn(vectors[p], vectors[q], cosine, cosine * tangent);
                    Turn(turns[p], turns[q], cosine, cosine * tangent);
                }
            }
        }
    }

    private static void Turn(double[] p, double[] q, double cosine, double sine)
    {
        for (int i = 0; i < p.Length; i++)
        {
            double old = p[i];
            p[i] = (cosine * old) - (sine * q[i]);
            q[i] = (sine * old) + (cosine * q[i]);
        }
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
