using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Products;

/// <summary>
/// Descriptors and the algorithm for one shape: <c>c = factor op(a) op(b) + c</c>, sums in f32. cuBLASLt counts by columns: a row-major matrix is
/// its transpose there, so that the plan is for <c>c^T = op(b)^T op(a)^T</c>.
/// </summary>
internal sealed unsafe class LtPlan : IDisposable
{
    private nint _descriptor;
    private nint _a;
    private nint _b;
    private nint _c;
    private CublasLtLibrary.Heuristic _algorithm;

    /// <exception cref="CudaException">cuBLASLt has no algorithm for it.</exception>
    public LtPlan(nint handle, LtMatrix a, LtMatrix b, LtMatrix c, long workspaceBytes)
    {
        try
        {
            CublasLtLibrary.Check(
                CublasLtLibrary.CreateDescriptor(out _descriptor, CublasLtLibrary.ComputeFloat32, CublasLtLibrary.Float32), "cublasLtMatmulDescCreate");
            SetTransposed(CublasLtLibrary.TransposeA, b.IsTransposed);
            SetTransposed(CublasLtLibrary.TransposeB, a.IsTransposed);
            _a = Layout(b);
            _b = Layout(a);
            _c = Layout(c);
            FindAlgorithm(handle, a, b, c, workspaceBytes);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public void Run(nint handle, float factor, LtMatrix a, LtMatrix b, LtMatrix c, bool add, ulong workspace, long workspaceBytes, nint stream)
    {
        float beta = add ? 1f : 0f;
        fixed (CublasLtLibrary.Heuristic* found = &_algorithm)
        {
            CublasLtLibrary.Check(
                CublasLtLibrary.Multiply(
                    handle,
                    _descriptor,
                    &factor,
                    b.Address,
                    _a,
                    a.Address,
                    _b,
                    &beta,
                    c.Address,
                    _c,
                    c.Address,
                    _c,
                    found->Algorithm,
                    workspace,
                    (nuint)workspaceBytes,
                    stream),
                "cublasLtMatmul");
        }
    }

    public void Dispose()
    {
        Destroy(ref _a, CublasLtLibrary.DestroyLayout);
        Destroy(ref _b, CublasLtLibrary.DestroyLayout);
        Destroy(ref _c, CublasLtLibrary.DestroyLayout);
        Destroy(ref _descriptor, CublasLtLibrary.DestroyDescriptor);
    }

    private static nint Layout(LtMatrix matrix)
    {
        CublasLtLibrary.Check(
            CublasLtLibrary.CreateLayout(
                out nint layout,
                matrix.IsBFloat16 ? CublasLtLibrary.BFloat16 : CublasLtLibrary.Float32,
                (ulong)matrix.Columns,
                (ulong)matrix.Rows,
                matrix.Stride),
            "cublasLtMatrixLayoutCreate");
        return layout;
    }

    private static void Destroy(ref nint handle, Func<nint, int> destroy)
    {
        if (handle != 0)
        {
            _ = destroy(handle);
            handle = 0;
        }
    }

    private static void Prefer(nint preference, int attribute, ulong value, int size) => CublasLtLibrary.Check(
        CublasLtLibrary.SetPreference(preference, attribute, &value, (nuint)size), "cublasLtMatmulPreferenceSetAttribute");

    private void SetTransposed(int attribute, bool isTransposed)
    {
        int value = isTransposed ? CublasLtLibrary.Transposed : CublasLtLibrary.NotTransposed;
        CublasLtLibrary.Check(CublasLtLibrary.SetDescriptor(_descriptor, attribute, &value, sizeof(int)), "cublasLtMatmulDescSetAttribute");
    }

    private void FindAlgorithm(nint handle, LtMatrix a, LtMatrix b, LtMatrix c, long workspaceBytes)
    {
        CublasLtLibrary.Check(CublasLtLibrary.CreatePreference(out nint preference), "cublasLtMatmulPreferenceCreate");
        try
        {
            Prefer(preference, CublasLtLibrary.MaxWorkspaceBytes, (ulong)workspaceBytes, sizeof(nuint));

            // Otherwise it takes all to be multiples of 256.
            Prefer(preference, CublasLtLibrary.MinAlignmentA, b.Alignment, sizeof(uint));
            Prefer(preference, CublasLtLibrary.MinAlignmentB, a.Alignment, sizeof(uint));
            Prefer(preference, CublasLtLibrary.MinAlignmentC, c.Alignment, sizeof(uint));
            Prefer(preference, CublasLtLibrary.MinAlignmentD, c.Alignment, sizeof(uint));
            CublasLtLibrary.Heuristic found;
            CublasLtLibrary.Check(
                CublasLtLibrary.FindAlgorithm(handle, _descriptor, _a, _b, _c, _c, preference, 1, &found, out int count),
                "cublasLtMatmulAlgoGetHeuristic");
            if (count < 1)
            {
                throw new CudaException(found.State, $"cuBLASLt has no algorithm for {a} by {b}");
            }

            _algorithm = found;
        }
        finally
        {
            _ = CublasLtLibrary.DestroyPreference(preference);
        }
    }
}
