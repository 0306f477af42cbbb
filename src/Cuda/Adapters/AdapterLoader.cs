using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cuda.Adapters;

/// <summary>
/// Brings adapters to the device, in pages that they share with all others, beside running steps: by a stream of its own, and done when the
/// call returns. Any thread.
/// </summary>
internal sealed unsafe class AdapterLoader : IDisposable
{
    private readonly CudaDevice _device;
    private readonly Lock _gate = new();
    private readonly StagedWriter _writer; // under _gate

    /// <param name="device">The device.</param>
    /// <param name="limitBytes">Most bytes of all adapters; 0 for what the device has.</param>
    public AdapterLoader(CudaDevice device, long limitBytes)
    {
        _device = device;
        device.MakeCurrent();
        _writer = new StagedWriter();
        Pages = new PagePool(device, limitBytes);
    }

    /// <summary>Where adapters lie that have memory of their own.</summary>
    public PagePool Pages { get; }

    /// <summary>Where adapters lie that share their memory with KV blocks; null when none is shared.</summary>
    public PagePool? SharedPages { get; private set; }

    /// <summary>What adapters have changed so far.</summary>
    public ModuleUse Use { get; } = new();

    /// <summary>Adapters may lie in a memory that they share, from here on; null for no longer.</summary>
    /// <exception cref="InvalidOperationException">They share another.</exception>
    public void Share(IChunkSource? shared)
    {
        lock (_gate)
        {
            if (shared is not null && SharedPages is not null)
            {
                throw new InvalidOperationException("adapters share their memory with another KV cache, which must be disposed of first");
            }

            // A pool that is given up goes on for what is taken of it.
            SharedPages = shared is null ? null : new PagePool(shared);
        }
    }

    /// <summary>Makes an adapter resident.</summary>
    /// <param name="weights">The adapter.</param>
    /// <param name="format">Of A and B.</param>
    /// <param name="isShared">Whether it lies in the memory shared with KV blocks, if there is one.</param>
    /// <param name="createReplacement">Packs a weight that takes the place of the base's; the string is its label.</param>
    /// <exception cref="ArgumentException">Shapes contradict each other.</exception>
    /// <exception cref="DeviceMemoryException">It does not fit; nothing is lost.</exception>
    public CudaAdapter Load(AdapterWeights weights, WeightFormat format, bool isShared, Func<HostMatrix, string, WeightMatrix> createReplacement)
    {
        AdapterChecks.Check(weights, format);
        _device.MakeCurrent();
        AdapterPlan plan = new(weights, format);
        CudaPart?[] parts = [.. weights.Deltas.Select(delta => delta is null ? null : new CudaPart(delta))];
        PagePool pool = isShared ? SharedPages ?? Pages : Pages;
        PageSet pages = pool.Take(weights.Label, plan.Requests);
        try
        {
            long byteCount = plan.ByteCount;
            for (int module = 0; module < parts.Length; module++)
            {
                if (parts[module] is CudaPart part)
                {
                    byteCount += Complete(part, plan, module, weights, pages, createReplacement);
                }
            }

            RecordWriter records = plan.WriteRecords(pages, parts);
            Copy(plan, records, pages);
            Use.Add(parts);
            bool isPlain = format == WeightFormat.BF16 && parts.All(part => part is null or { Blocks: 0 });
            return new CudaAdapter(weights.Label, byteCount, parts, pages.RunsOf(plan.RecordRequest)[0].Address, isPlain, pages, ReferenceEquals(pool, Pages) ? 0 : plan.ByteCount);
        }
        catch
        {
            foreach (CudaPart? part in parts)
            {
                part?.Replacement?.Dispose();
            }

            pages.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _writer.Dispose();
        Pages.Dispose();
    }

    private long Complete(
        CudaPart part, AdapterPlan plan, int module, AdapterWeights weights, PageSet pages, Func<HostMatrix, string, WeightMatrix> createReplacement)
    {
        LowRankDelta delta = weights.Deltas[module]!;
        string label = $"module {module} of '{weights.Label}'";
        (ulong normWeight, ulong outputBias) = plan.VectorsOf(module, pages);
        part.NormWeight = normWeight == 0 ? null : Vector(normWeight, delta.Replacement!.Columns, label);
        part.OutputBias = outputBias == 0 ? null : Vector(outputBias, delta.OutputBias!.Length, label);
        part.Replacement = delta.Replacement is null or { Rows: 1 } ? null : createReplacement(delta.Replacement, $"replacement of {label}");
        return part.Replacement?.ByteCount ?? 0;
    }

    private CudaBuffer Vector(ulong address, int count, string label) => new(_device, address, (long)count * sizeof(float), $"vector of {label}");

    private void Copy(AdapterPlan plan, RecordWriter records, PageSet pages)
    {
        lock (_gate)
        {
            try
            {
                for (int i = 0; i < plan.Rows.Count; i++)
                {
                    Copy(plan.Rows[i], pages.RunsOf(i));
                }

                ReadOnlySpan<byte> bytes = records.Bytes;
                byte* target = _writer.Reserve(pages.RunsOf(plan.RecordRequest)[0].Address, bytes.Length);
                bytes.CopyTo(new Span<byte>(target, bytes.Length));
                _writer.Complete();
            }
            catch
            {
                _writer.Abandon();
                throw;
            }
        }
    }

    private void Copy(PagedRows rows, ReadOnlySpan<PageRun> runs)
    {
        int first = 0;
        int atOnce = (int)Math.Max(1, StagedWriter.HalfBytes / rows.PageBytes);
        foreach (PageRun run in runs)
        {
            for (int done = 0; done < run.Count; done += atOnce)
            {
                int count = Math.Min(atOnce, run.Count - done);
                ulong target = run.Address + ((ulong)done * (ulong)rows.PageBytes);
                rows.Write(first, count, _writer.Reserve(target, count * rows.PageBytes));
                first += count;
            }
        }
    }
}
