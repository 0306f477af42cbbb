using System.Globalization;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Benchmarks.Gpu.Kernels;

/// <summary>Adapters of rank 16 on the modules that read one input: each row its own, all rows the same, and a prefill.</summary>
internal sealed class AdapterKernelCases : IDisposable
{
    private const int Rank = AdapterFiles.Rank;
    private const int Adapters = 64;
    private const int Layers = 8; // that take turns, as they do in a model
    private const int MaxRows = 512;

    private readonly IComputeBackend _backend;
    private readonly ModelDimensions _shape;
    private readonly DeviceAdapter[] _adapters;
    private readonly DeviceBuffer _x;
    private readonly DeviceBuffer _y;

    public AdapterKernelCases(IComputeBackend backend, ModelDimensions shape)
    {
        _backend = backend;
        _shape = shape;
        AdapterWeights weights = new("bench@0", [.. Enumerable.Range(0, Layers).SelectMany(_ => ModelDimensions.Modules).Select(module => Delta(shape.Features(module)))]);
        _adapters = [.. Enumerable.Range(0, Adapters).Select(_ => backend.CreateAdapter(weights, WeightFormat.BF16))];
        _x = backend.Allocate((long)MaxRows * Math.Max(shape.Hidden, shape.Intermediate) * sizeof(float), "x");
        _y = backend.Allocate((long)MaxRows * 2 * shape.Intermediate * sizeof(float), "y");
        RandomFill.Write(backend, _x);
    }

    public IEnumerable<KernelCase> Cases
    {
        get
        {
            (string Name, string[] Modules)[] groups =
                [("query, key, value", ["q_proj", "k_proj", "v_proj"]), ("attention output", ["o_proj"]), ("gate and up", ["gate_proj", "up_proj"]), ("down", ["down_proj"])];
            (int Rows, int Groups)[] batches = [(1, 1), (8, 8), (32, 32), (32, 1), (64, 64), (MaxRows, 1)];
            return from batch in batches from @group in groups select Case(@group.Name, @group.Modules, batch.Rows, batch.Groups);
        }
    }

    public void Dispose()
    {
        Array.ForEach(_adapters, adapter => adapter.Dispose());
        _x.Dispose();
        _y.Dispose();
    }

    private KernelCase Case(string name, string[] modules, int rows, int groups)
    {
        int inputs = _shape.Features(modules[0]).In;
        List<ModuleColumns> columns = [];
        int outputs = 0;
        foreach (string module in modules)
        {
            columns.Add(new ModuleColumns(ModelDimensions.Modules.ToList().IndexOf(module), outputs, _shape.Features(module).Out));
            outputs += _shape.Features(module).Out;
        }

        StepInputs step = KernelStage.Step(rows, rows == MaxRows ? 1 : rows, context: rows == MaxRows ? rows : 1, _ => [.. Enumerable.Range(0, (rows + 15) / 16)]);
        for (int i = 0; i < groups; i++)
        {
            step.Lora.BeginGroup(i * (rows / groups), rows / groups);
            step.Lora.AddEntry(_adapters[i * (Adapters / groups)], 1);
        }

        ModuleColumns[][] layers =
            [.. Enumerable.Range(0, Layers).Select(layer => columns.Select(one => one with { Module = (layer * ModelDimensions.Modules.Count) + one.Module }).ToArray())];
        TensorView x = new(_x, rows, inputs), y = new(_y, rows, outputs);
        double parameters = (double)Rank * ((modules.Length * inputs) + outputs);
        return new KernelCase(
            string.Create(CultureInfo.InvariantCulture, $"adapters, {name}, {rows} rows, {groups} adapter{(groups == 1 ? "" : "s")}"),
            (2 * groups * parameters) + (4.0 * rows * (inputs + (2 * outputs))),
            2 * rows * parameters,
            step,
            number => _backend.ApplyAdapters(step.Lora, layers[number % Layers], x, y));
    }

    private static LowRankDelta Delta((int Out, int In) features) => new()
    {
        A = new HostMatrix(Rank, features.In, Numbers(Rank * features.In)),
        B = new HostMatrix(features.Out, Rank, Numbers(features.Out * Rank)),
    };

    private static float[] Numbers(int count)
    {
        float[] values = new float[count];
        RandomFill.Read(count, values);
        return values;
    }
}
