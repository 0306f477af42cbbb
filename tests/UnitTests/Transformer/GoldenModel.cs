using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit.Models;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>A golden base with its adapters at hand, on the CPU or another backend.</summary>
internal sealed class GoldenModel : IDisposable
{
    private readonly Dictionary<string, DeviceAdapter> _adapters = new(StringComparer.Ordinal);

    public GoldenModel(
        string folder, WeightFormat format = WeightFormat.F32, CpuProducts products = CpuProducts.Auto, WeightFormat? head = null)
        : this(folder, new CpuBackend(new CpuOptions { Products = products }), format, head)
    {
    }

    /// <param name="folder">Base in Hugging Face's layout.</param>
    /// <param name="backend">Owned from here on.</param>
    /// <param name="format">Of the weights.</param>
    /// <param name="head">Of the output head; null for the weights'.</param>
    public GoldenModel(string folder, IComputeBackend backend, WeightFormat format = WeightFormat.F32, WeightFormat? head = null)
    {
        Backend = backend;
        Model = TransformerModel.Load(folder, Backend, new ModelLoadOptions
        {
            Weights = format,
            Head = head,
            MaxBatchTokens = 256,
            MaxSampledRows = 256,
        });
        Harness = new ModelHarness(Model, Backend);
    }

    public IComputeBackend Backend { get; }

    public TransformerModel Model { get; }

    public ModelHarness Harness { get; }

    public AdapterWeights Import(string folder) => new PeftImporter(Model.Shape).Import(folder, Path.GetFileName(folder)).Weights;

    /// <summary>The adapter of a folder, on the device; made once.</summary>
    public DeviceAdapter Adapter(string folder)
    {
        if (!_adapters.TryGetValue(folder, out DeviceAdapter? adapter))
        {
            adapter = OnDevice(Import(folder));
            _adapters.Add(folder, adapter);
        }

        return adapter;
    }

    public DeviceAdapter OnDevice(AdapterWeights weights) => Backend.CreateAdapter(weights, WeightFormat.F32);

    public void Dispose()
    {
        foreach (DeviceAdapter adapter in _adapters.Values)
        {
            adapter.Dispose();
        }

        Harness.Dispose();
        Model.Dispose();
        Backend.Dispose();
    }
}
