using InferenceServer.Cuda;
using InferenceServer.Cuda.Products;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Which products are formed how, and that it changes no result beyond its rounding.</summary>
[Collection(StandInCollection.Name)]
public sealed class CudaProductTests
{
    /// <summary>Rows that each tile of the own kernels is for, and more than the largest.</summary>
    public static TheoryData<WeightFormat, int> Tiles()
    {
        TheoryData<WeightFormat, int> tiles = [];
        foreach (WeightFormat format in Enum.GetValues<WeightFormat>())
        {
            foreach (int rows in new[] { 3, 11, 20, 70 })
            {
                tiles.Add(format, rows);
            }
        }

        return tiles;
    }

    [StandInTheory]
    [InlineData(WeightFormat.F32, 65)]
    [InlineData(WeightFormat.F32, 130)]
    [InlineData(WeightFormat.BF16, 65)]
    [InlineData(WeightFormat.BF16, 130)]
    [InlineData(WeightFormat.Int8, 130)]
    [InlineData(WeightFormat.NF4, 130)]
    public void Many_rows_are_multiplied_as_few_are(WeightFormat format, int rows)
    {
        using CudaBackend backend = CudaTestBackend.Create(CudaProducts.Auto);
        foreach ((int outputs, int inputs) in new[] { (1, 1), (33, 67), (64, 128), (97, 1031) })
        {
            HostTensor weight = HostTensor.Random(outputs, inputs, outputs);
            HostTensor x = HostTensor.Random(rows, inputs, inputs);
            using WeightMatrix matrix = Pack(backend, weight, format);
            HostTensor kept = new(outputs, inputs);
            backend.ReadMatrix(matrix, 0, kept.Values);
            StandIn.ResetCounters();

            float[] y = Multiply(backend, x, matrix);

            // Unpacked weights are rounded to bf16 like x.
            HostTensor multiplied = format == WeightFormat.F32 ? x : x.RoundedToBFloat16();
            HostTensor rounded = format.IsQuantized() ? kept.RoundedToBFloat16() : kept;
            double[] scale = Reference.MatMul(x.Absolute(), kept.Absolute());
            string what = $"{format} [{rows}, {inputs}] x [{outputs}, {inputs}]";
            Closeness.AssertCloseByScale(Reference.MatMul(multiplied, rounded), scale, y, 1e-6, what);
            Assert.DoesNotContain(StandIn.KernelRuns.Keys, name => name.StartsWith("product", StringComparison.Ordinal));
        }
    }

    [StandInTheory]
    [MemberData(nameof(Tiles))]
    public void A_device_with_little_shared_memory_gives_the_same_bits(WeightFormat format, int rows)
    {
        // Compute capability 8.6, 8.9 and 12.0.
        const int SharedBytes = 99 * 1024;
        using CudaBackend backend = CudaTestBackend.Create();
        using WeightProducts products = new(backend.Context, SharedBytes);
        using WeightMatrix matrix = Pack(backend, HostTensor.Random(40, 1301, 3), format);
        HostTensor x = HostTensor.Random(rows, 1301, 4);
        using GuardedTensor input = new(backend, x);
        using GuardedTensor output = new(backend, rows, 40);

        products.Run(input.View, CudaWeightMatrix.Of(matrix), output.View);

        Assert.Equal(Multiply(backend, x, matrix), output.Read());
    }

    [StandInTheory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void Gradients_of_inputs_are_added_up(WeightFormat format)
    {
        using CudaBackend backend = CudaTestBackend.Create(CudaProducts.Auto);
        using GemmProducts products = new(backend.Context);
        foreach ((int outputs, int inputs, int rows) in new[] { (1, 1, 1), (33, 67, 5), (97, 131, 70) })
        {
            HostTensor dy = HostTensor.Random(rows, outputs, outputs);
            HostTensor dx = HostTensor.Random(rows, inputs, inputs);
            using WeightMatrix matrix = Pack(backend, HostTensor.Random(outputs, inputs, 1), format);
            HostTensor kept = new(outputs, inputs);
            backend.ReadMatrix(matrix, 0, kept.Values);
            using GuardedTensor gradient = new(backend, dy);
            using GuardedTensor sum = new(backend, dx);

            products.AddGradient(gradient.View, CudaWeightMatrix.Of(matrix), sum.View);

            bool isRounded = format != WeightFormat.F32;
            HostTensor transposed = Transposed(isRounded ? kept.RoundedToBFloat16() : kept);
            double[] expected = Reference.MatMul(isRounded ? dy.RoundedToBFloat16() : dy, transposed);
            double[] scale = Reference.MatMul(dy.Absolute(), transposed.Absolute());
            for (int i = 0; i < expected.Length; i++)
            {
                expected[i] += dx.Values[i];
                scale[i] += Math.Abs(dx.Values[i]);
            }

            Closeness.AssertCloseByScale(expected, scale, sum.Read(), 1e-6, $"{format} [{rows}, {outputs}] x [{outputs}, {inputs}]");
        }
    }

    [StandInFact]
    public void Quantised_weights_of_many_outputs_are_unpacked_in_pieces()
    {
        // More outputs than a launch has rows of blocks.
        const int Outputs = 65600;
        using CudaBackend backend = CudaTestBackend.Create(CudaProducts.Auto);
        HostTensor weight = HostTensor.Random(Outputs, 3, 1);
        HostTensor x = HostTensor.Random(65, 3, 2);
        using WeightMatrix matrix = Pack(backend, weight, WeightFormat.Int8);
        HostTensor kept = new(Outputs, 3);
        backend.ReadMatrix(matrix, 0, kept.Values);

        float[] y = Multiply(backend, x, matrix);

        double[] scale = Reference.MatMul(x.Absolute(), kept.Absolute());
        Closeness.AssertCloseByScale(Reference.MatMul(x.RoundedToBFloat16(), kept.RoundedToBFloat16()), scale, y, 1e-6, "pieces");
    }

    [StandInTheory]
    [MemberData(nameof(Tiles))]
    public void Products_have_the_same_bits_under_every_schedule(WeightFormat format, int rows)
    {
        using CudaBackend backend = CudaTestBackend.Create();

        // Sums in several parts, each of several steps.
        using WeightMatrix matrix = Pack(backend, HostTensor.Random(40, 1301, 3), format);
        HostTensor kept = new(40, 1301);
        backend.ReadMatrix(matrix, 0, kept.Values);
        HostTensor x = HostTensor.Random(rows, 1301, 4);

        float[] y = Schedules.SameBitsUnderAll(() => Multiply(backend, x, matrix));

        // NF4's values in bf16: CudaMatMulConformance says what that costs.
        HostTensor multiplied = format == WeightFormat.F32 ? x : x.RoundedToBFloat16();
        double[] scale = Reference.MatMul(x.Absolute(), kept.Absolute());
        Closeness.AssertCloseByScale(Reference.MatMul(multiplied, kept), scale, y, format == WeightFormat.NF4 ? 3.2e-3 : 1e-6, $"{rows} rows");
    }

    [StandInTheory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void Embeddings_and_products_of_a_step_of_decodes_are_part_of_its_graph(WeightFormat format)
    {
        using StepBench captured = new(format, graphs: true);
        using StepBench eager = new(format, graphs: false);

        // Two buckets, 16 and 48, and counts below them.
        foreach (int rows in new[] { 16, 13, 16, 40, 35, 40 })
        {
            Assert.Equal(eager.Run(rows), captured.Run(rows));
        }

        Assert.Equal(2, captured.Backend.Context.Queue.Graphs.CaptureCount);
        Assert.Equal(4, captured.Backend.Context.Queue.Graphs.LaunchCount);
    }

    [StandInFact]
    public void A_failing_reader_leaves_no_device_memory_behind()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        long before = StandIn.Counters.LiveBytes;

        Assert.Throws<InvalidDataException>(() => backend.CreateMatrix(
            100, 10, WeightFormat.NF4, "broken", (first, _) => throw new InvalidDataException($"row {first}")));

        Assert.Equal(before, StandIn.Counters.LiveBytes);
    }

    private static WeightMatrix Pack(CudaBackend backend, HostTensor weight, WeightFormat format) => backend.CreateMatrix(
        weight.Rows,
        weight.Columns,
        format,
        "weight",
        (first, target) => weight.Values.AsSpan(first * weight.Columns, target.Length).CopyTo(target));

    private static HostTensor Transposed(HostTensor x)
    {
        HostTensor y = new(x.Columns, x.Rows);
        for (int i = 0; i < x.Values.Length; i++)
        {
            y[i % x.Columns, i / x.Columns] = x.Values[i];
        }

        return y;
    }

    private static float[] Multiply(CudaBackend backend, HostTensor x, WeightMatrix matrix)
    {
        using GuardedTensor input = new(backend, x);
        using GuardedTensor output = new(backend, x.Rows, matrix.Rows);
        backend.MatMul(input.View, matrix, output.View);
        return output.Read();
    }

    /// <summary>y = (embeddings + positions) w^T, in parts, in steps of decodes.</summary>
    private sealed class StepBench : IDisposable
    {
        private const int MaxRows = 50;
        private const int Inputs = 600;
        private const int Outputs = 140;
        private const float Untouched = -7;
        private readonly WeightMatrix _table;
        private readonly WeightMatrix _weight;
        private readonly DeviceBuffer _x;
        private readonly DeviceBuffer _y;

        public StepBench(WeightFormat format, bool graphs)
        {
            Backend = CudaTestBackend.Create(CudaProducts.Auto, graphs);
            _table = Pack(Backend, HostTensor.Random(MaxRows, Inputs, 3), format);
            _weight = Pack(Backend, HostTensor.Random(Outputs, Inputs, 4), format);
            _x = Backend.Allocate(MaxRows * Inputs * sizeof(float), "x");
            _y = Backend.Allocate(MaxRows * Outputs * sizeof(float), "y");
        }

        public CudaBackend Backend { get; }

        /// <summary>Runs a step and returns all rows of y.</summary>
        public float[] Run(int rows)
        {
            StepInputs step = new(rows, rows);
            for (int row = 0; row < rows; row++)
            {
                step.AddSequence([(row * 7) % MaxRows], row, [row]);
            }

            float[] untouched = new float[MaxRows * Inputs];
            Array.Fill(untouched, Untouched);
            Backend.Write(untouched, _x);
            Backend.Write(untouched.AsSpan(0, MaxRows * Outputs), _y);
            TensorView x = new(_x, rows, Inputs);
            Backend.BeginStep(step);
            Backend.Embed(_table, x);
            Backend.AddPositions(_table, x);
            Backend.MatMul(x, _weight, new TensorView(_y, rows, Outputs));
            float[] y = new float[MaxRows * Outputs];
            Backend.Read(new TensorView(_y, MaxRows, Outputs), y);
            Backend.Read(new TensorView(_x, MaxRows, Inputs), untouched);
            Assert.All(untouched[(rows * Inputs)..], value => Assert.Equal(Untouched, value));
            Assert.All(y[(rows * Outputs)..], value => Assert.Equal(Untouched, value));
            return y;
        }

        public void Dispose()
        {
            _table.Dispose();
            _weight.Dispose();
            _x.Dispose();
            _y.Dispose();
            Backend.Dispose();
        }
    }
}
