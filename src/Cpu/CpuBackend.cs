using System.Globalization;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Emitted;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.KeyValues;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Packed;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu;

/// <summary>
/// The operations of the model on the processor's vector units and its own threads. Every operation is done when its call returns.
/// A row's result has the same bits whatever the other rows of the call, the number of threads and the chunks of a prefill.
/// </summary>
public sealed unsafe class CpuBackend : IComputeBackend, IPackedWeightBackend
{
    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly AdapterBlocks _adapterBlocks = new();
    private readonly StepState _step = new();
    private readonly CpuOperations _operations;
    private readonly ProductChoice _products;
    private readonly GatherRows _gatherRows;
    private readonly StoreKv _storeKv;
    private readonly bool _hugePages;
    private readonly bool _mapsWeights;
    private bool _disposed;

    /// <param name="options">How to use the machine.</param>
    /// <param name="beforeOperation">
    /// Called before each operation on the thread that asks for it; may wait, so that work of low priority can make room. Null for nothing.
    /// </param>
    /// <exception cref="ArgumentException">An option is out of range, or the processor lacks the vectors asked for.</exception>
    public CpuBackend(CpuOptions options, Action? beforeOperation = null)
        : this(options, beforeOperation, null)
    {
    }

    /// <summary>The same with kernels of the caller's choice; null for the option's.</summary>
    internal CpuBackend(CpuOptions options, Action? beforeOperation, ProductChoice? products)
    {
        ArgumentNullException.ThrowIfNull(options);
        int threads = options.ThreadCount == 0 ? Environment.ProcessorCount : options.ThreadCount;
        if (threads is < 1 or > 1024)
        {
            throw new ArgumentException($"ThreadCount {options.ThreadCount} is not between 0 and 1024");
        }

        int bits = ChooseVectorBits(options.VectorBits);
        _products = products ?? ProductChoice.Make(options.Products, bits);
        _pool = new WorkerPool(threads, beforeOperation);
        _hugePages = options.HugePages;
        _mapsWeights = options.MapWeights;
        _scratch = new WorkerScratch(threads, _hugePages);
        _operations = bits switch
        {
            512 => new VectorOperations<Simd512, Vector512<float>>(_pool, _scratch, _step, _products),
            256 => new VectorOperations<Simd256, Vector256<float>>(_pool, _scratch, _step, _products),
            128 => new VectorOperations<Simd128, Vector128<float>>(_pool, _scratch, _step, _products),
            _ => new VectorOperations<SimdScalar, float>(_pool, _scratch, _step, _products),
        };
        _gatherRows = new GatherRows(_pool, _scratch);
        _storeKv = new StoreKv(_pool, _step);
    }

    public string Name => "cpu";

    public string Description =>
        $"cpu: {_pool.WorkerCount} threads, {_operations.VectorBits}-bit vectors, {_products.Description}, {HugePages.Describe(_hugePages)}";

    /// <summary>The threads, for the operations of training.</summary>
    internal WorkerPool Pool => _pool;

    /// <summary>The threads' scratch memory, for the operations of training.</summary>
    internal WorkerScratch Scratch => _scratch;

    /// <summary>Whether products are formed by emitted kernels, which all round their x somehow.</summary>
    internal bool UsesEmittedProducts => _products != ProductChoice.None;

    /// <summary>Bits of the vectors in use.</summary>
    internal int VectorBits => _operations.VectorBits;

    public bool RoundsInputs(WeightFormat weights) => _products.RoundsInputs(weights);

    public long? FreeMemory => null;

    public DeviceBuffer Allocate(long byteCount, string label) => new CpuBuffer(byteCount, label, _hugePages);

    public void Write(ReadOnlySpan<float> source, DeviceBuffer target)
    {
        OperationChecks.Write(source, target);
        source.CopyTo(new Span<float>(CpuBuffer.Of(target).Pointer, source.Length));
        GC.KeepAlive(target);
    }

    public void Read(TensorView source, Span<float> destination)
    {
        OperationChecks.Read(source, destination);
        Rows rows = new(source);
        for (int row = 0; row < source.Rows; row++)
        {
            new ReadOnlySpan<float>(rows.At(row), source.Columns).CopyTo(destination[(row * source.Columns)..]);
        }

        GC.KeepAlive(source.Buffer);
    }

    public WeightMatrix CreateMatrix(int rows, int columns, WeightFormat format, string label, WeightRowReader reader) =>
        CpuWeightMatrix.Pack(rows, columns, format, label, reader, _pool.WorkerCount, _hugePages);

    public string PackedLayout => string.Create(CultureInfo.InvariantCulture, $"cpu panels {PanelLayout.Version}");

    public void Prepare(PackedFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        if (_mapsWeights)
        {
            file.TryMap(_pool.WorkerCount, _hugePages);
        }
    }

    public WeightMatrix CreateMatrix(PackedFile file, PackedSection section)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(section);
        return CpuWeightMatrix.Restore(section, file.TakeMapped(section), _pool.WorkerCount, _hugePages);
    }

    public void ReadPacked(WeightMatrix matrix, long offset, Span<byte> destination)
    {
        CpuWeightMatrix.Of(matrix).ReadPacked(offset, destination);
        GC.KeepAlive(matrix);
    }

    public void ReadMatrix(WeightMatrix matrix, int firstRow, Span<float> destination)
    {
        OperationChecks.ReadMatrix(matrix, firstRow, destination);
        CpuWeightMatrix packed = CpuWeightMatrix.Of(matrix);
        int rows = destination.Length / matrix.Columns;
        fixed (float* target = destination)
        {
            for (int row = 0; row < rows; row++)
            {
                packed.ReadRow(firstRow + row, target + ((nint)row * matrix.Columns));
            }
        }

        GC.KeepAlive(matrix);
    }

    public bool AreIdentical(WeightMatrix left, WeightMatrix right) => CpuWeightMatrix.Of(left).HasSameBits(CpuWeightMatrix.Of(right));

    public DeviceAdapter CreateAdapter(AdapterWeights weights, WeightFormat format) => AdapterPacker.Pack(weights, format, _adapterBlocks);

    public WeightFormat KeyValueFormat => WeightFormat.F32;

    public KvCache CreateKvCache(KvCacheShape shape) => new CpuKvCache(shape, _hugePages);

    public void BeginStep(StepInputs step) => _step.Begin(step);

    /// <summary>Nothing to forget: each operation is done when its call returns.</summary>
    public void AbandonStep()
    {
    }

    public void Embed(WeightMatrix table, TensorView y)
    {
        (int max, int min) = _step.TokenRange;
        OperationChecks.Embed(_step.Inputs, table, min, max, y);
        _gatherRows.Run(CpuWeightMatrix.Of(table), _step.Inputs.Tokens, new Rows(y), add: false);
        KeepAlive(table, y);
    }

    public void AddPositions(WeightMatrix table, TensorView y)
    {
        OperationChecks.AddPositions(_step.Inputs, table, _step.MaxPosition, y);
        _gatherRows.Run(CpuWeightMatrix.Of(table), _step.Inputs.Positions, new Rows(y), add: true);
        KeepAlive(table, y);
    }

    public void ApplyEmbeddingAdapters(int module, TensorView y)
    {
        OperationChecks.ApplyEmbeddingAdapters(_step.Inputs, y);
        _operations.ApplyEmbeddingAdapters(_step.Inputs.Restore, module, y);
        _operations.ApplyEmbeddingAdapters(_step.Inputs.Lora, module, y);
        GC.KeepAlive(y.Buffer);
    }

    public void Scale(float factor, TensorView y)
    {
        _operations.Scale(factor, y);
        GC.KeepAlive(y.Buffer);
    }

    public void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y)
    {
        OperationChecks.Norm(x, weight, null, y, nameof(RmsNorm));
        _operations.RmsNorm(x, weight, offset, epsilon, y);
        KeepAlive(x, weight, y);
    }

    public void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y)
    {
        OperationChecks.Norm(x, weight, bias, y, nameof(LayerNorm));
        _operations.LayerNorm(x, weight, bias, epsilon, y);
        KeepAlive(x, weight, y);
        GC.KeepAlive(bias);
    }

    public void MatMul(TensorView x, WeightMatrix weight, TensorView y)
    {
        OperationChecks.MatMul(x, weight, y);
        _operations.MatMul(x, CpuWeightMatrix.Of(weight), y);
        GC.KeepAlive(x.Buffer);
        KeepAlive(weight, y);
    }

    public void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        OperationChecks.ApplyAdapters(batch, modules, x, y);
        _operations.ApplyAdapters(batch, modules, x, y);
        KeepAlive(x, y);
    }

    public void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        OperationChecks.ScaleInputs(batch, x, y);
        _operations.ScaleInputs(batch, module, x, y);
        KeepAlive(x, y);
    }

    public void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        OperationChecks.ApplyReplacedRows(batch, x, y);
        _operations.ApplyReplacedRows(batch, module, x, y);
        KeepAlive(x, y);
    }

    public void AddBias(DeviceBuffer bias, TensorView y)
    {
        OperationChecks.AddBias(bias, y);
        _operations.AddBias(bias, y);
        GC.KeepAlive(bias);
        GC.KeepAlive(y.Buffer);
    }

    public void Add(TensorView x, TensorView y)
    {
        OperationChecks.Add(x, y);
        _operations.Add(x, y);
        KeepAlive(x, y);
    }

    public void Rope(RopeTable table, int headSize, TensorView x)
    {
        OperationChecks.Rope(_step.Inputs, table, headSize, _step.MaxPosition, x);
        _operations.Rope(table, headSize, x);
        GC.KeepAlive(table);
        GC.KeepAlive(x.Buffer);
    }

    public void StoreKv(TensorView k, TensorView v, KvCache cache, int layer)
    {
        OperationChecks.StoreKv(_step.Inputs, k, v, cache, layer);
        _storeKv.Run(new Rows(k), new Rows(v), CpuKvCache.Of(cache), layer, k.Rows);
        GC.KeepAlive(cache);
        KeepAlive(k, v);
    }

    public void PagedAttention(TensorView q, KvCache cache, int layer, AttentionParameters parameters, TensorView y)
    {
        OperationChecks.PagedAttention(_step.Inputs, q, cache, layer, parameters, y);
        _operations.PagedAttention(q, CpuKvCache.Of(cache), layer, parameters, y);
        GC.KeepAlive(cache);
        KeepAlive(q, y);
    }

    public void GatedActivation(TensorView x, Activation activation, TensorView y)
    {
        OperationChecks.GatedActivation(x, y);
        _operations.GatedActivation(x, activation, y);
        KeepAlive(x, y);
    }

    public void Activate(Activation activation, TensorView y)
    {
        _operations.Activate(activation, y);
        GC.KeepAlive(y.Buffer);
    }

    public void GatherSampledRows(TensorView x, TensorView y)
    {
        OperationChecks.GatherSampledRows(_step.Inputs, x, y);
        ReadOnlySpan<int> sampled = _step.Inputs.SampledRows;
        Rows from = new(x);
        Rows to = new(y);
        for (int i = 0; i < sampled.Length; i++)
        {
            new ReadOnlySpan<float>(from.At(sampled[i]), x.Columns).CopyTo(new Span<float>(to.At(i), x.Columns));
        }

        KeepAlive(x, y);
    }

    public void SoftCap(float cap, TensorView y)
    {
        _operations.SoftCap(cap, y);
        GC.KeepAlive(y.Buffer);
    }

    /// <summary>Ends the threads and frees the scratch; buffers, matrices, caches and adapters belong to those who made them.</summary>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _pool.Dispose();
            _scratch.Dispose();
            _adapterBlocks.Dispose();
            _operations.Dispose();
        }
    }

    private static int ChooseVectorBits(int wanted)
    {
        int widest = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : Vector128.IsHardwareAccelerated ? 128 : 32;
        return wanted switch
        {
            0 => widest,
            32 or 128 or 256 or 512 when wanted <= widest => wanted,
            32 or 128 or 256 or 512 => throw new ArgumentException($"VectorBits {wanted} exceeds this processor's {widest}"),
            _ => throw new ArgumentException($"VectorBits {wanted} is not 0, 32, 128, 256 or 512"),
        };
    }

    // Raw pointers do not keep their owner alive: without these an unreferenced buffer could be finalized in the middle of an operation.
    private static void KeepAlive(TensorView x, TensorView y)
    {
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    private static void KeepAlive(TensorView x, DeviceBuffer weight, TensorView y)
    {
        KeepAlive(x, y);
        GC.KeepAlive(weight);
    }

    private static void KeepAlive(WeightMatrix weight, TensorView y)
    {
        GC.KeepAlive(weight);
        GC.KeepAlive(y.Buffer);
    }
}
