using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Kernels;

/// <summary>The factors that a stack of adapters puts on a module's input or output: <c>y = (1 + sum w_i (s_i - 1)) * x</c>.</summary>
internal static unsafe class ScaledRows<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Scales rows by the stack's input scales (<paramref name="input"/>) or output scales.</summary>
    /// <param name="entries">The stack.</param>
    /// <param name="module">Module index.</param>
    /// <param name="input">Which scale.</param>
    /// <param name="x">Rows to scale, from the module's first column on.</param>
    /// <param name="y">Results; may be x. Not written when no adapter of the stack has such a scale.</param>
    /// <param name="firstRow">First row.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="firstColumn">First column to scale, a multiple of 16.</param>
    /// <param name="columns">Columns to scale.</param>
    /// <param name="factors">Scratch of <paramref name="columns"/> floats, rounded up to 32.</param>
    public static void Apply(
        ReadOnlySpan<LoraEntry> entries, int module, bool input, Rows x, Rows y, int firstRow, int rows, int firstColumn, int columns, float* factors)
    {
        bool any = false;
        foreach (LoraEntry entry in entries)
        {
            AdapterPart? part = CpuAdapter.Of(entry.Adapter).Part(module);
            NativeBlock? scale = input ? part?.InputScale : part?.Replacement is null ? part?.OutputScale : null;
            if (scale is null)
            {
                continue;
            }

            int length = input ? part!.InFeatures : part!.OutFeatures;
            if (length < firstColumn + columns)
            {
                throw new ArgumentException(
                    $"scale of module {module} of '{entry.Adapter.Label}' has {length} values, the rows {firstColumn + columns} columns or more");
            }

            if (!any)
            {
                new Span<float>(factors, LowRankLayout.RoundUp(columns)).Fill(1);
                any = true;
            }

            AddScale((float*)scale.Pointer + firstColumn, entry.Weight, factors, columns);
        }

        if (any)
        {
            for (int row = firstRow; row < firstRow + rows; row++)
            {
                Multiply(x.At(row) + firstColumn, factors, y.At(row) + firstColumn, columns);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddScale(float* scale, float weight, float* factors, int count)
    {
        // Both are padded to 16.
        TVector weights = TSimd.Broadcast(weight);
        TVector ones = TSimd.Broadcast(1f);
        for (int i = 0; i < count; i += TSimd.Count)
        {
            TVector change = TSimd.Subtract(TSimd.Load(scale + i), ones);
            TSimd.Store(TSimd.MultiplyAdd(weights, change, TSimd.Load(factors + i)), factors + i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply(float* x, float* factors, float* y, int count)
    {
        int i = 0;
        for (; i <= count - TSimd.Count; i += TSimd.Count)
        {
            TSimd.Store(TSimd.Multiply(TSimd.Load(x + i), TSimd.Load(factors + i)), y + i);
        }

        for (; i < count; i++)
        {
            y[i] = x[i] * factors[i];
        }
    }
}
