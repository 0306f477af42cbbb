using System.Globalization;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>
/// All linear modules of one decoder layer, with and without adapters on them: what adapters cost beside the base weights that they
/// change. A slice is one layer; the layers rotate through more memory than any cache holds.
/// </summary>
internal sealed class LayerCases : IDisposable
{
    private const int Rank = 16;
    private const int Layers = 6;

    private readonly IComputeBackend _backend;
    private readonly List<IDisposable> _owned = [];

    public LayerCases(IComputeBackend backend)
    {
        _backend = backend;
        Add("1.1B", hidden: 2048, keyWidth: 256, intermediate: 5632, [WeightFormat.BF16, WeightFormat.Int8], [1, 16]);
        Add("110M", hidden: 768, keyWidth: 768, intermediate: 2048, [WeightFormat.BF16], [16]);
    }

    public List<Measurement> Measurements { get; } = [];

    public void Dispose()
    {
        foreach (IDisposable owned in _owned)
        {
            owned.Dispose();
        }
    }

    private void Add(string shape, int hidden, int keyWidth, int intermediate, WeightFormat[] formats, int[] rowCounts)
    {
        int[][] outputs = [[hidden, keyWidth, keyWidth], [hidden], [intermediate, intermediate], [hidden]];
        int[] inputs = [hidden, hidden, hidden, intermediate];
        ModuleColumns[][] modules = [.. outputs.Select(columns => columns.Select((count, i) => new ModuleColumns(0, columns[..i].Sum(), count)).ToArray())];
        int maxRows = rowCounts.Max();
        DeviceAdapter[] adapters = [.. Enumerable.Range(0, maxRows).Select(_ => CreateAdapter(inputs, outputs))];
        DeviceBuffer[] x = [.. inputs.Select(columns => Filled(maxRows, columns))];
        DeviceBuffer[] y = [.. outputs.Select(columns => Filled(maxRows, columns.Sum()))];
        foreach (WeightFormat format in formats)
        {
            WeightMatrix[] weights = [.. Enumerable.Range(0, Layers * inputs.Length).Select(i => CreateMatrix(inputs[i % 4], outputs[i % 4].Sum(), format))];
            foreach (int rows in rowCounts)
            {
                foreach ((string name, int groups) in new[] { ("base", 0), ("one adapter", 1), ("all distinct", rows) }.DistinctBy(item => item.Item2))
                {
                    Measurements.Add(Case($"layer {shape} {Name(format)} {rows} rows, {name}", weights, rows, groups));
                }
            }
        }

        Measurement Case(string name, WeightMatrix[] weights, int rows, int groups)
        {
            LoraBatch batch = new();
            ModuleColumns[] here = new ModuleColumns[3];
            for (int group = 0; group < groups; group++)
            {
                batch.BeginGroup(group * (rows / groups), rows / groups);
                batch.AddEntry(adapters[group], 1);
            }

            double bytes = (weights.Sum(weight => (double)weight.ByteCount) + (groups * (double)adapters[0].ByteCount)) / Layers;
            return new Measurement(name, bytes, 0, number =>
            {
                int layer = number % Layers;
                int module = layer * outputs.Sum(columns => columns.Length);
                for (int i = 0; i < inputs.Length; i++)
                {
                    TensorView input = new(x[i], rows, inputs[i]);
                    TensorView output = new(y[i], rows, outputs[i].Sum());
                    _backend.MatMul(input, weights[(layer * inputs.Length) + i], output);
                    ModuleColumns[] columns = modules[i];
                    for (int j = 0; j < columns.Length; j++)
                    {
                        here[j] = columns[j] with { Module = module++ };
                    }

                    if (groups > 0)
                    {
                        _backend.ApplyAdapters(batch, here.AsSpan(0, columns.Length), input, output);
                    }
                }
            });
        }
    }

    private DeviceAdapter CreateAdapter(int[] inputs, int[][] outputs)
    {
        List<LowRankDelta> layer = [];
        for (int i = 0; i < inputs.Length; i++)
        {
            foreach (int columns in outputs[i])
            {
                layer.Add(new LowRankDelta { A = Matrix(Rank, inputs[i]), B = Matrix(columns, Rank) });
            }
        }

        DeviceAdapter adapter = _backend.CreateAdapter(
            new AdapterWeights("bench@0", [.. Enumerable.Repeat(layer, Layers).SelectMany(deltas => deltas)]), WeightFormat.BF16);
        _owned.Add(adapter);
        return adapter;
    }

    private WeightMatrix CreateMatrix(int inputs, int outputs, WeightFormat format)
    {
        HostTensor values = HostTensor.Random(64, inputs, 1);
        WeightMatrix matrix = _backend.CreateMatrix(outputs, inputs, format, "weight", (first, target) =>
        {
            for (int row = 0; row < target.Length / inputs; row++)
            {
                values.Values.AsSpan((first + row) % 64 * inputs, inputs).CopyTo(target[(row * inputs)..]);
            }
        });
        _owned.Add(matrix);
        return matrix;
    }

    private DeviceBuffer Filled(int rows, int columns)
    {
        DeviceBuffer buffer = _backend.Allocate((long)rows * columns * sizeof(float), "rows");
        _backend.Write(HostTensor.Random(rows, columns, 3).Values, buffer);
        _owned.Add(buffer);
        return buffer;
    }

    private static HostMatrix Matrix(int rows, int columns) => new(rows, columns, HostTensor.Random(rows, columns, 1).Values);

    private static string Name(WeightFormat format) => format.ToString().ToLower(CultureInfo.InvariantCulture);
}
