using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using InferenceServer.Cuda.Adapters;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.KeyValues;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Products;
using InferenceServer.Cuda.Sampling;
using InferenceServer.Cuda.Steps;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Memory;
using InferenceServer.Tensors.Packed;
using InferenceServer.Tensors.Sampling;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda;

/// <summary>
/// The operations of the model on an NVIDIA device. Operations return before they are done; <see cref="Read"/> waits for them. Steps of decodes
/// are launched as graphs (<see cref="StepGraphs"/>). With <see cref="CudaProducts.Exact"/> a row's result has the same bits whatever the
/// other rows of the call.
/// </summary>
public sealed unsafe class CudaBackend : IComputeBackend, IPackedWeightBackend, ISamplingBackend, IFoldingBackend, ISharedMemoryBackend
{
    private readonly CudaMachine _machine;
    private readonly CudaDevice _device;
    private readonly KernelContext _context;
    private readonly HostCopies _copies;
    private readonly CudaOptions _options;
    private readonly bool _ownsMachine;
    private readonly RetiredMemory _retired = new();
    private readonly ElementOperators _elements;
    private readonly Add _add;
    private readonly RmsNorm _rmsNorm;
    private readonly LayerNorm _layerNorm;
    private readonly Rope _rope;
    private readonly StoreKv _storeKv;
    private readonly PagedAttention _attention;
    private readonly GatherRows _gatherRows;
    private readonly WeightProducts _products;
    private readonly TokenSampler _sampler;
    private readonly AdapterOperators _adapters;
    private bool _disposed;

    private CudaBackend(CudaMachine machine, bool ownsMachine, Action? beforeOperation)
    {
        _machine = machine;
        _ownsMachine = ownsMachine;
        _device = machine.Device;
        _options = machine.Options;
        _copies = machine.Copies;
        _device.MakeCurrent();
        StepTables step = new(_device, makesTiles: _options.Products == CudaProducts.Auto);
        _context = new KernelContext(machine, new KernelQueue(beforeOperation), step, new ScratchMemory(_device));
        _elements = new ElementOperators(_context);
        _add = new Add(_context);
        _rmsNorm = new RmsNorm(_context, _add);
        _layerNorm = new LayerNorm(_context);
        _rope = new Rope(_context);
        _storeKv = new StoreKv(_context, _rope);
        _attention = new PagedAttention(_context);
        _gatherRows = new GatherRows(_context);
        _products = new WeightProducts(_context);
        _sampler = new TokenSampler(_context);
        _adapters = new AdapterOperators(_context);
    }

    public string Name => "cuda";

    public string Description
    {
        get
        {
            (long free, long total) = _device.Memory;
            return string.Create(
                CultureInfo.InvariantCulture,
                $"cuda: {_device.Name}, {_device.Multiprocessors} multiprocessors, {free >> 20} of {total >> 20} MiB free, " +
                $"{_context.Library.Description}, products {_options.Products}, graphs {(_options.Graphs ? "on" : "off")}");
        }
    }

    /// <summary>What the operations share; for tests.</summary>
    internal KernelContext Context => _context;

    /// <summary>Opens a device; where CUDA cannot be used, says why and is no error.</summary>
    /// <param name="options">How to use it.</param>
    /// <param name="backend">The backend.</param>
    /// <param name="reason">What is missing.</param>
    /// <exception cref="CudaException">CUDA is there and fails.</exception>
    public static bool TryCreate(CudaOptions options, [NotNullWhen(true)] out CudaBackend? backend, out string reason)
    {
        ArgumentNullException.ThrowIfNull(options);
        backend = null;
        NativeLibraries.SearchFirst(options.LibraryPath);
        if (!CudaDevice.TryOpen(options.Device, out CudaDevice? device, out reason))
        {
            return false;
        }

        try
        {
            backend = new CudaBackend(new CudaMachine(device, options), ownsMachine: true, beforeOperation: null);
            return true;
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A backend with a stream and steps of its own over the same device, for another thread; weights and adapters that one made are good for
    /// both. Dispose it first.
    /// </summary>
    /// <param name="beforeOperation">
    /// Called before each launch on the thread that asks for it; may wait, so that work of low priority can make room. Null for nothing.
    /// </param>
    public CudaBackend CreateView(Action? beforeOperation = null) => new(_machine, ownsMachine: false, beforeOperation);

    public long? FreeMemory => _device.Memory.Free;

    public DeviceBuffer Allocate(long byteCount, string label)
    {
        CudaBuffer buffer = new(_device, byteCount, label, _retired);
        _copies.Clear(buffer);
        return buffer;
    }

    public void Write(ReadOnlySpan<float> source, DeviceBuffer target)
    {
        OperationChecks.Write(source, target);
        fixed (float* first = source)
        {
            _copies.ToDevice(first, (long)source.Length * sizeof(float), CudaBuffer.Of(target).Address);
        }

        GC.KeepAlive(target);
    }

    public void Read(TensorView source, Span<float> destination)
    {
        OperationChecks.Read(source, destination);
        CudaStream stream = _context.Queue.Stream();
        fixed (float* first = destination)
        {
            _copies.ToHost(stream, CudaBuffer.AddressOf(source), source.Rows, source.Columns, source.RowStride, first);
        }

        FreeUnused();
        GC.KeepAlive(source.Buffer);
    }

    public WeightMatrix CreateMatrix(int rows, int columns, WeightFormat format, string label, WeightRowReader reader) =>
        CudaWeightMatrix.Pack(_machine, rows, columns, format, label, reader);

    public string PackedLayout => string.Create(CultureInfo.InvariantCulture, $"cuda units {WeightLayout.Version}");

    /// <summary>Nothing to do: what the device holds is a copy.</summary>
    public void Prepare(PackedFile file) => ArgumentNullException.ThrowIfNull(file);

    public WeightMatrix CreateMatrix(PackedFile file, PackedSection section)
    {
        ArgumentNullException.ThrowIfNull(section);
        return CudaWeightMatrix.Restore(_machine, section);
    }

    public void ReadPacked(WeightMatrix matrix, long offset, Span<byte> destination)
    {
        CudaWeightMatrix.Of(matrix).ReadPacked(offset, destination);
        GC.KeepAlive(matrix);
    }

    public void ReadMatrix(WeightMatrix matrix, int firstRow, Span<float> destination)
    {
        OperationChecks.ReadMatrix(matrix, firstRow, destination);
        CudaWeightMatrix.Of(matrix).ReadRows(firstRow, destination);
        GC.KeepAlive(matrix);
    }

    public WeightMatrix Fold(WeightMatrix original, IReadOnlyList<RowChange> changes, WeightFormat format, string label)
    {
        ArgumentNullException.ThrowIfNull(changes);
        CudaWeightMatrix folded = new FoldRows(_machine).Run(CudaWeightMatrix.Of(original), changes, format, label);
        GC.KeepAlive(original);
        return folded;
    }

    public bool AreIdentical(WeightMatrix left, WeightMatrix right) => CudaWeightMatrix.Of(left).HasSameBits(CudaWeightMatrix.Of(right));

    public DeviceAdapter CreateAdapter(AdapterWeights weights, WeightFormat format) => LoadAdapter(weights, format, isShared: false);

    public DeviceAdapter CreateSharedAdapter(AdapterWeights weights, WeightFormat format) => LoadAdapter(weights, format, isShared: true);

    public bool RoundsInputs(WeightFormat weights) => weights != WeightFormat.F32;

    public WeightFormat KeyValueFormat => _options.KeyValues;

    public KvCache CreateKvCache(KvCacheShape shape)
    {
        CudaKvCache cache = new(_device, shape, _retired);
        _copies.Clear(cache.Buffer);
        return cache;
    }

    public KvCache CreateSharedKvCache(KvCacheShape shape, long byteCount, out ChunkBudget chunks)
    {
        ArgumentNullException.ThrowIfNull(shape);
        AdapterLoader adapters = _machine.Adapters;
        SharedArena arena = new(_device, byteCount, CudaKvCache.BlockBytes(shape), _retired);
        try
        {
            chunks = arena.Chunks;
            KvCacheShape whole = shape with { Blocks = checked(chunks.ChunkCount * chunks.BlocksPerChunk) };
            CudaKvCache cache = new(whole, new CudaBuffer(_device, arena.Address, arena.ByteCount, "KV cache"), () =>
            {
                adapters.Share(null);
                arena.Dispose();
            });
            adapters.Share(arena);
            return cache;
        }
        catch
        {
            arena.Dispose();
            throw;
        }
    }

    public void ClearBlocks(KvCache cache, int firstBlock, int count)
    {
        _device.MakeCurrent();
        CudaKvCache own = CudaKvCache.Of(cache);
        long blockBytes = CudaKvCache.BlockBytes(own.Shape);
        CudaDriver.Check(
            CudaDriver.Fill(own.Layer(0) + (ulong)(firstBlock * blockBytes), 0, (nuint)(count * blockBytes), _context.Queue.Stream().Pointer),
            "clearing KV blocks");
    }

    public void BeginStep(StepInputs step)
    {
        ArgumentNullException.ThrowIfNull(step);
        _device.MakeCurrent();
        _context.Step.Begin(step, _options.Graphs ? _options.MaxGraphRows : 0, _context.Queue.Stream());
        if (_context.Step.IsGraphStep)
        {
            _context.Queue.Gather();
        }
    }

    public void AbandonStep()
    {
        _ = CudaDriver.SetCurrentContext(_device.Context);
        _context.Queue.Drop();
        FreeUnused();
    }

    public void Embed(WeightMatrix table, TensorView y)
    {
        (int max, int min) = _context.Step.TokenRange;
        OperationChecks.Embed(_context.Step.Inputs, table, min, max, y);
        _gatherRows.Run(CudaWeightMatrix.Of(table), StepTable.Tokens, y, add: false);
    }

    public void AddPositions(WeightMatrix table, TensorView y)
    {
        OperationChecks.AddPositions(_context.Step.Inputs, table, _context.Step.MaxPosition, y);
        _gatherRows.Run(CudaWeightMatrix.Of(table), StepTable.Positions, y, add: true);
    }

    public void ApplyEmbeddingAdapters(int module, TensorView y)
    {
        OperationChecks.ApplyEmbeddingAdapters(_context.Step.Inputs, y);
        _adapters.ApplyToEmbeddings(module, y);
    }

    public void Scale(float factor, TensorView y) => _elements.Scale(factor, y);

    public void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y)
    {
        OperationChecks.Norm(x, weight, null, y, nameof(RmsNorm));
        _rmsNorm.Run(x, weight, offset, epsilon, y);
    }

    public void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y)
    {
        OperationChecks.Norm(x, weight, bias, y, nameof(LayerNorm));
        _layerNorm.Run(x, weight, bias, epsilon, y);
    }

    public void MatMul(TensorView x, WeightMatrix weight, TensorView y)
    {
        OperationChecks.MatMul(x, weight, y);
        _products.Run(x, CudaWeightMatrix.Of(weight), y);
    }

    public void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        OperationChecks.ApplyAdapters(batch, modules, x, y);
        _adapters.Apply(batch, modules, x, y);
    }

    public void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        OperationChecks.ScaleInputs(batch, x, y);
        _adapters.ScaleInputs(batch, module, x, y);
    }

    public void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        OperationChecks.ApplyReplacedRows(batch, x, y);
        _adapters.ApplyReplacedRows(batch, module, x, y);
    }

    public void AddBias(DeviceBuffer bias, TensorView y)
    {
        OperationChecks.AddBias(bias, y);
        _elements.AddBias(bias, y);
    }

    public void Add(TensorView x, TensorView y)
    {
        OperationChecks.Add(x, y);
        _add.Run(x, y);
    }

    public void Rope(RopeTable table, int headSize, TensorView x)
    {
        OperationChecks.Rope(_context.Step.Inputs, table, headSize, _context.Step.MaxPosition, x);
        _rope.Run(table, headSize, x);
    }

    public void StoreKv(TensorView k, TensorView v, KvCache cache, int layer)
    {
        OperationChecks.StoreKv(_context.Step.Inputs, k, v, cache, layer);
        _storeKv.Run(k, v, CudaKvCache.Of(cache), layer);
    }

    public void PagedAttention(TensorView q, KvCache cache, int layer, AttentionParameters parameters, TensorView y)
    {
        OperationChecks.PagedAttention(_context.Step.Inputs, q, cache, layer, parameters, y);
        _attention.Run(q, CudaKvCache.Of(cache), layer, parameters, y);
    }

    public void GatedActivation(TensorView x, Activation activation, TensorView y)
    {
        OperationChecks.GatedActivation(x, y);
        _elements.GatedActivation(x, activation, y);
    }

    public void Activate(Activation activation, TensorView y) => _elements.Activate(activation, y);

    public void GatherSampledRows(TensorView x, TensorView y)
    {
        OperationChecks.GatherSampledRows(_context.Step.Inputs, x, y);
        _elements.GatherSampledRows(x, y);
    }

    public void SoftCap(float cap, TensorView y) => _elements.SoftCap(cap, y);

    public void Sample(TensorView logits, SamplingBatch batch, Span<SampledToken> tokens)
    {
        ArgumentNullException.ThrowIfNull(batch);
        OperationChecks.Sample(logits, batch, tokens);
        _sampler.Run(logits, batch, tokens);
        FreeUnused();
        GC.KeepAlive(logits.Buffer);
    }

    /// <summary>Waits for the device; buffers, matrices, caches and adapters belong to those who made them.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _ = CudaDriver.SetCurrentContext(_device.Context);
        _context.Queue.Drop();
        _retired.Free();
        _products.Dispose();
        _sampler.Dispose();
        _adapters.Dispose();
        _context.Step.Dispose();
        _context.Scratch.Dispose();
        _context.Queue.Dispose();
        if (_ownsMachine)
        {
            _machine.Dispose();
        }
    }

    private CudaAdapter LoadAdapter(AdapterWeights weights, WeightFormat format, bool isShared) => _machine.Adapters.Load(
        weights,
        format,
        isShared,
        (matrix, label) => CreateMatrix(
            matrix.Rows,
            matrix.Columns,
            format,
            label,
            (firstRow, target) => matrix.Values.AsSpan(firstRow * matrix.Columns, target.Length).CopyTo(target)));

    // Nothing is under way.
    private void FreeUnused()
    {
        _retired.Free();
        _context.Scratch.FreeOutgrown();
        _context.Step.FreeOutgrown();
    }
}
