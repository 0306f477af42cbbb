using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit.Models;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>A golden base on the CPU with its adapters at hand.</summary>
internal sealed class GoldenModel : IDisposable
{
    private readonly Dictionary<string, DeviceAdapter> _adapters = new(StringComparer.Ordinal);

    public GoldenModel(
        string folder, WeightFormat format = WeightFormat.F32, CpuProducts products = CpuProducts.Auto, WeightFormat? head = null)
    {
        Backend = new CpuBackend(new CpuOptions { Products = products });
        Model = TransformerModel.Load(folder, Backend, new ModelLoadOptions
        {
            Weights = format,
            Head = head,
            MaxBatchTokens = 256,
            MaxSampledRows = 256,
        });
        Harness = new ModelHarness(Model, Backend);
    }

    public CpuBackend Backend { get; }

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
