using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.KeyValues;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches PrefillAttention.cu, for keys and values in bf16 and the head sizes of its kernels.</summary>
internal sealed class PrefillAttention
{
    private readonly KernelContext _context;
    private readonly Dictionary<int, (KernelFunction Kernel, int Lines)> _kernels = [];

    public PrefillAttention(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["PrefillAttention.cu"];
        foreach ((int headSize, int tile, int warps) in (ReadOnlySpan<(int, int, int)>)[(64, 64, 6), (80, 64, 6), (96, 64, 8), (128, 64, 8), (256, 16, 4)])
        {
            // Keys and values of two tiles; see the kernel.
            int sharedBytes = 2 * 2 * tile * (headSize + 8) * sizeof(ushort);
            if (sharedBytes <= context.Device.MaxSharedBytes)
            {
                _kernels[headSize] = (module.Function($"prefill_attention_{headSize}", warps * 32, sharedBytes), warps * 16);
            }
        }
    }

    /// <summary>Whether there is a kernel for a cache.</summary>
    public bool Serves(CudaKvCache cache) => cache.IsBFloat16 && _kernels.ContainsKey(cache.Shape.HeadSize);

    /// <summary>Computes the rows of the step's prefilled sequences.</summary>
    public void Run(AttentionCall call)
    {
        StepTables step = _context.Step;
        AttentionParameters parameters = call.Parameters;
        (KernelFunction kernel, int lines) = _kernels[parameters.HeadSize];
        int tiles = 0;
        foreach (StepSequence sequence in step.Inputs.Sequences)
        {
            tiles += sequence.RowCount >= StepTables.MinPrefilledRows ? Grid.Cover((long)sequence.RowCount * call.HeadsPerKv, lines) : 0;
        }

        _context.Queue.Launch(
            kernel,
            new Grid(tiles, parameters.KvHeads),
            CudaBuffer.AddressOf(call.Q),
            call.Q.RowStride,
            call.Cache.Layer(call.Layer),
            step.Address(StepTable.PrefilledSequences),
            step.PrefilledCount,
            step.Address(StepTable.Sequences),
            step.Address(StepTable.Blocks),
            parameters.KvHeads,
            call.HeadsPerKv,
            call.Cache.Shape.BlockSize,
            call.Cache.PageStride,
            parameters.Scale,
            parameters.SoftCap,
            parameters.Window,
            CudaBuffer.AddressOf(call.Y),
            call.Y.RowStride);
    }
}
