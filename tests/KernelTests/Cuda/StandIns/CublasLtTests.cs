using InferenceServer.Cuda.Interop;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.StandIns;

/// <summary>The stand-in's cuBLASLt multiplies as its manual says, and refuses what the library refuses.</summary>
[Collection(StandInCollection.Name)]
public sealed unsafe class CublasLtTests
{
    private const int M = 5;
    private const int N = 3;
    private const int K = 7;
    private const int BadValue = 7;
    private const int NotSupported = 15;

    /// <summary>The preference's attributes of the matrices' alignments; 256 bytes where nothing is said.</summary>
    private const int MinAlignmentOfA = 5;

    [StandInTheory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void A_product_is_its_definition_whatever_is_transposed(bool transposeA, bool transposeB)
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        float[] a = [.. Enumerable.Range(0, M * K).Select(i => (float)((i * 5 % 11) - 4))];
        float[] b = [.. Enumerable.Range(0, K * N).Select(i => (float)((i * 7 % 13) - 6))];
        float[] c = [.. Enumerable.Range(0, M * N).Select(i => (float)i)];
        ulong product = samples.Upload<float>(c);

        ulong left = samples.Upload<float>(a), right = samples.Upload<float>(b);
        int status = Multiply(samples, left, right, product, transposeA, transposeB, 256, CublasLtLibrary.Float32);

        // Columns lie one behind the other: element (i, k) of A is at i + k M, or at k + i K where A is given transposed.
        float[] expected = new float[M * N];
        for (int i = 0; i < M; i++)
        {
            for (int j = 0; j < N; j++)
            {
                float sum = 0;
                for (int k = 0; k < K; k++)
                {
                    sum += a[transposeA ? k + (i * K) : i + (k * M)] * b[transposeB ? j + (k * N) : k + (j * K)];
                }

                expected[i + (j * M)] = (2 * sum) + (3 * c[i + (j * M)]);
            }
        }

        Assert.Equal(0, status);
        Assert.Equal(expected, samples.Download<float>(product, M * N));
    }

    [StandInFact]
    public void A_matrix_less_aligned_than_was_said_and_types_it_has_not_are_refused()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        ulong a = samples.Upload<float>(new float[64]), b = samples.Upload<float>(new float[64]), c = samples.Upload<float>(new float[64]);

        Assert.Equal(BadValue, Multiply(samples, a + 16, b, c, false, false, 256, CublasLtLibrary.Float32));
        Assert.Equal(0, Multiply(samples, a + 16, b, c, false, false, 16, CublasLtLibrary.Float32));
        Assert.Equal(BadValue, Multiply(samples, a + 8, b, c, false, false, 16, CublasLtLibrary.Float32));
        Assert.Equal(BadValue, Multiply(samples, a, b + 256, c, false, false, 256, CublasLtLibrary.Float32));
        Assert.Equal(NotSupported, Multiply(samples, a, b, c, false, false, 256, CublasLtLibrary.BFloat16));
    }

    /// <summary>C = 2 A B + 3 C, all f32 but B, whose type is given.</summary>
    private static int Multiply(SampleKernels samples, ulong a, ulong b, ulong c, bool transposeA, bool transposeB, uint alignment, int typeOfB)
    {
        const int F = CublasLtLibrary.Float32;
        float alpha = 2, beta = 3;
        int ta = transposeA ? 1 : 0, tb = transposeB ? 1 : 0;
        CublasLtLibrary.Check(CublasLtLibrary.Create(out nint handle), "create");
        CublasLtLibrary.Check(CublasLtLibrary.CreateDescriptor(out nint descriptor, CublasLtLibrary.ComputeFloat32, F), "descriptor");
        CublasLtLibrary.Check(CublasLtLibrary.SetDescriptor(descriptor, CublasLtLibrary.TransposeA, &ta, 4), "transpose a");
        CublasLtLibrary.Check(CublasLtLibrary.SetDescriptor(descriptor, CublasLtLibrary.TransposeB, &tb, 4), "transpose b");
        (int Rows, int Columns) formOfA = transposeA ? (K, M) : (M, K), formOfB = transposeB ? (N, K) : (K, N);
        CublasLtLibrary.Check(CublasLtLibrary.CreateLayout(out nint la, F, (ulong)formOfA.Rows, (ulong)formOfA.Columns, formOfA.Rows), "a");
        CublasLtLibrary.Check(CublasLtLibrary.CreateLayout(out nint lb, typeOfB, (ulong)formOfB.Rows, (ulong)formOfB.Columns, formOfB.Rows), "b");
        CublasLtLibrary.Check(CublasLtLibrary.CreateLayout(out nint lc, F, M, N, M), "c");
        CublasLtLibrary.Check(CublasLtLibrary.CreatePreference(out nint preference), "preference");
        for (int matrix = 0; matrix < 4; matrix++)
        {
            CublasLtLibrary.Check(CublasLtLibrary.SetPreference(preference, MinAlignmentOfA + matrix, &alignment, sizeof(uint)), "alignment");
        }

        CublasLtLibrary.Heuristic heuristic;
        int status = CublasLtLibrary.FindAlgorithm(handle, descriptor, la, lb, lc, lc, preference, 1, &heuristic, out int found);
        if (status == 0)
        {
            Assert.Equal(1, found);
            status = CublasLtLibrary.Multiply(
                handle, descriptor, &alpha, a, la, b, lb, &beta, c, lc, c, lc, &heuristic, 0, 0, samples.Stream.Pointer);
        }

        _ = CublasLtLibrary.DestroyPreference(preference);
        foreach (nint layout in (nint[])[la, lb, lc])
        {
            _ = CublasLtLibrary.DestroyLayout(layout);
        }

        _ = CublasLtLibrary.DestroyDescriptor(descriptor);
        _ = CublasLtLibrary.Destroy(handle);
        return status;
    }
}
