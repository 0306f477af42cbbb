using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.Kernels.Training;
using InferenceServer.Cuda.Products;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Training;

/// <summary>
/// Products of f32 matrices: by own kernels, which also know narrow matrices well, or by cuBLASLt where all sides are long and products need not be
/// exact. Either way f32 times f32 is added in f32.
/// </summary>
internal sealed class TrainingProducts : IDisposable
{
    // From here on a GEMM is bound by its arithmetic; ranks of adapters are below.
    private const int LongSide = 128;

    private readonly FloatProducts _own;

    public TrainingProducts(KernelContext context)
    {
        _own = new FloatProducts(context);
        IsExact = context.Machine.Options.Products == CudaProducts.Exact;
        WithWeights = new GemmProducts(context);
    }

    /// <summary>Whether only own kernels are to be taken.</summary>
    public bool IsExact { get; }

    /// <summary>cuBLASLt, with weights of any format.</summary>
    public GemmProducts WithWeights { get; }

    /// <summary><c>y = factor op(a) op(b)</c>, or added to y.</summary>
    public void Run(float factor, LtMatrix a, LtMatrix b, TensorView y, bool add) => Run(factor, a, b, LtMatrix.Of(y), add);

    /// <inheritdoc cref="Run(float, LtMatrix, LtMatrix, TensorView, bool)"/>
    public void Run(float factor, LtMatrix a, LtMatrix b, LtMatrix y, bool add)
    {
        int depth = a.IsTransposed ? a.Rows : a.Columns;
        if (!IsExact && y.Rows >= LongSide && y.Columns >= LongSide && depth >= LongSide)
        {
            WithWeights.Plain.Run(factor, a, b, y, add);
        }
        else
        {
            _own.Run(factor, a, b, y, add, depth);
        }
    }

    public void Dispose() => WithWeights.Dispose();
}
