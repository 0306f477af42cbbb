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
    /// <param name="x">Rows to scale.</param>
    /// <param name="y">Results; may be x. Not written when no adapter of the stack has such a scale.</param>
    /// <param name="firstRow">First row.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="factors">Scratch of <paramref name="columns"/> floats, rounded up to 16.</param>
    public static void Apply(
        ReadOnlySpan<LoraEntry> entries, int module, bool input, Rows x, Rows y, int firstRow, int rows, int columns, float* factors)
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
            if (length != columns)
            {
                throw new ArgumentException($"scale of module {module} of '{entry.Adapter.Label}' has {length} values, the rows {columns}");
            }

            if (!any)
            {
                new Span<float>(factors, AdapterPart.RoundUp(columns)).Fill(1);
                any = true;
            }

            AddScale((float*)scale.Pointer, entry.Weight, factors, columns);
        }

        if (any)
        {
            for (int row = firstRow; row < firstRow + rows; row++)
            {
                Multiply(x.At(row), factors, y.At(row), columns);
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
