using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Emitted;
using InferenceServer.Cpu.Memory.Interop;
using InferenceServer.KernelTests.Cpu.Emulation;
using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

/// <summary>Products by AMX tiles: the emitted code on the interpreter everywhere, and on the processor where it has tiles.</summary>
public sealed unsafe class TileTests
{
    [Fact]
    public void The_kernels_pass_their_own_checks()
    {
        Assert.True(TileCheck.Passes(new InterpretedTiles()));
        Assert.True(IntegerTileCheck.Passes(new InterpretedTiles()));
    }

    [Fact]
    public void The_checks_find_kernels_that_compute_something_else()
    {
        Assert.False(TileCheck.Passes(new ChangedTiles(arguments => arguments->Resume = 0)));
        Assert.False(TileCheck.Passes(new ChangedTiles(arguments => arguments->B0 += 64)));
        Assert.False(TileCheck.Passes(new ChangedTiles(arguments => arguments->XStride += 64)));
        Assert.False(IntegerTileCheck.Passes(new ChangedTiles(arguments => arguments->B1 = arguments->X)));
        Assert.False(IntegerTileCheck.Passes(new ChangedTiles(arguments => arguments->Blocks = 1)));
        Assert.False(IntegerTileCheck.Passes(new ChangedTiles(arguments => arguments->XStride -= 32)));
    }

    [Fact]
    public void Subnormals_count_as_zeros()
    {
        const float Smallest = 1.1754944e-38f;
        const int Columns = 64;
        const int Bytes = 32 * Columns * sizeof(float);
        byte* memory = (byte*)NativeMemory.AlignedAlloc(2 * Bytes, KernelParts.VectorBytes);
        try
        {
            new Span<byte>(memory, 2 * Bytes).Clear();
            ushort* x = (ushort*)memory;
            float* c = (float*)(memory + Bytes);
            DotArguments arguments = new()
            {
                X = memory,
                XStride = 1024,
                B0 = memory + (Bytes / 2),
                C = c,
                CStride = Columns * sizeof(float),
                Blocks = 1,
                Resume = 1,
            };
            ushort* w = (ushort*)arguments.B0;

            // First row: a subnormal input, a product that becomes one, and one of normal size; of a result that is subnormal nothing is left.
            x[0] = BFloat16.FromSingle(Smallest / 4);
            x[2] = BFloat16.FromSingle(Smallest);
            (w[0], w[2], w[32], w[34]) = (BFloat16.FromSingle(1024), 0, BFloat16.FromSingle(0.5f), BFloat16.FromSingle(2));
            (c[0], c[1], c[2]) = (Smallest / 2, 0, Smallest / 2);
            InterpretedTiles kernels = new();
            kernels.Begin();

            kernels.Square(&arguments);

            kernels.End();
            Assert.Equal(0, c[0]);
            Assert.Equal(2 * Smallest, c[1]);
            Assert.Equal(0, c[2]);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    [Fact]
    public void One_row_by_vectors_has_the_bits_of_tiles()
    {
        const int Depth = 96;
        const int PanelElements = 32 * Depth;
        const int Kinds = 3;
        byte* memory = (byte*)NativeMemory.AlignedAlloc(64 << 10, KernelParts.VectorBytes);
        try
        {
            float* x = (float*)memory;
            ushort* panels = (ushort*)(x + Depth);
            ushort* tile = panels + (2 * PanelElements);
            float* c = (float*)(tile + (16 * Depth));
            float* byTile = c + 64;
            float* byFormula = byTile + (16 * 64);
            InterpretedTiles kernels = new();
            Assert.True(TileCheck.RowHasSameBits(kernels));
            for (int kind = 0; kind < Kinds; kind++)
            {
                // Ordinary values; such as make subnormal products; any at all but what is not finite.
                Random random = new(kind);
                ushort Next() => kind switch
                {
                    0 => BFloat16.FromSingle((random.NextSingle() * 2) - 1),
                    1 => BFloat16.FromSingle(((random.NextSingle() * 2) - 1) * MathF.Pow(2, random.Next(-75, -55))),
                    _ => (ushort)(random.Next(0x7f80) | (random.Next(2) << 15)),
                };
                new Span<ushort>(tile, 16 * Depth).Clear();
                for (int k = 0; k < Depth; k++)
                {
                    ushort value = Next();
                    x[k] = BFloat16.ToSingle(value);
                    tile[(k / 32 * 512) + (k % 32)] = value;
                }

                for (int i = 0; i < 2 * PanelElements; i++)
                {
                    panels[i] = Next();
                }

                DotArguments arguments = new()
                {
                    X = (byte*)x,
                    B0 = (byte*)panels,
                    B1 = (byte*)(panels + PanelElements),
                    Prefetch0 = memory,
                    Prefetch1 = memory,
                    C = c,
                    CStride = 64 * sizeof(float),
                    Blocks = Depth / 32,
                };
                kernels.Row(&arguments);
                arguments.C = byFormula;
                InterpretedTiles.RowByFormula(&arguments);
                arguments.C = byTile;
                arguments.X = (byte*)tile;
                kernels.Begin();
                kernels.Narrow(&arguments);
                kernels.End();

                Closeness.AssertSameBits(new ReadOnlySpan<float>(byTile, 64), new ReadOnlySpan<float>(byFormula, 64), $"formula, kind {kind}");
                Closeness.AssertSameBits(new ReadOnlySpan<float>(byTile, 64), new ReadOnlySpan<float>(c, 64), $"vectors, kind {kind}");
            }
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    [Fact]
    public void One_row_goes_by_tiles_where_vectors_would_give_other_bits()
    {
        ChangedTiles kernels = new(_ => { }) { ChangeRow = arguments => arguments->B1 = arguments->B0 };
        Assert.False(TileCheck.RowHasSameBits(kernels));
        using CpuBackend changed = new(new CpuOptions { ThreadCount = 2 }, null, new ProductChoice(kernels, null, null));
        using CpuBackend backend = Create();
        HostTensor weight = HostTensor.Random(70, 100, 5);
        using WeightMatrix matrix = Pack(backend, weight);
        using WeightMatrix changedMatrix = Pack(changed, weight);
        HostTensor x = HostTensor.Random(1, 100, 6);

        Closeness.AssertSameBits(Multiply(backend, x, matrix), Multiply(changed, x, changedMatrix), "one row");
    }

    [Fact]
    public void A_machine_without_usable_tiles_goes_on_without_them_and_says_why()
    {
        static int Fail() => throw new InvalidOperationException("asked too early");
        static ITileKernels Break() => throw new InvalidOperationException("assembled too early");

        Assert.Equal(new TileSupport(null, null), TileSupport.Find(processorHasThem: false, Fail, Break));
        Assert.Equal(new TileSupport(null, "the system refuses them, errno 22"), TileSupport.Find(processorHasThem: true, () => 22, Break));
        Assert.Equal(new TileSupport(null, "the system does not let new code run"), TileSupport.Find(processorHasThem: true, () => 0, () => null));
        Assert.Equal(
            new TileSupport(null, "they failed their check"),
            TileSupport.Find(processorHasThem: true, () => 0, () => new ChangedTiles(arguments => arguments->Resume = 0)));
        InterpretedTiles kernels = new();
        Assert.Equal(new TileSupport(kernels, null), TileSupport.Find(processorHasThem: true, () => 0, () => kernels));
        Assert.EndsWith(
            "f32 by multiply-adds (no AMX tiles: they failed their check)",
            new ProductChoice(null, null, null) { TileAbsence = "they failed their check" }.Description);
    }

    [Fact]
    public void A_thread_with_tiles_has_room_for_its_signals()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        nint before = 0;
        nint after = 0;
        int caught = 0;
        for (int round = 0; round < 2; round++)
        {
            Thread thread = new(() =>
            {
                before = LinuxSignalStack.CurrentBytes();
                LinuxSignalStack.Enlarge();
                LinuxSignalStack.Enlarge();
                after = LinuxSignalStack.CurrentBytes();
                try
                {
                    _ = Length(null!);
                }
                catch (NullReferenceException)
                {
                    // Comes as a signal, on that stack.
                    caught++;
                }
            });
            thread.Start();
            thread.Join();
            Assert.True(before < after, $"{before} bytes before, {after} after");
            Assert.Equal(LinuxSignalStack.Bytes, after);

            // The stack of the first thread is given back, the second has its own.
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.Equal(2, caught);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Length(int[] values) => values.Length;

    [Fact]
    public void The_configuration_has_eight_tiles_of_16_rows_of_64_bytes()
    {
        byte[] configuration = new byte[TileKernelCode.ConfigurationBytes];

        TileKernelCode.WriteConfiguration(configuration);

        Assert.Equal(1, configuration[0]);
        Assert.All(configuration[1..16], value => Assert.Equal(0, value));
        Assert.Equal(Enumerable.Repeat(64, 8), Enumerable.Range(0, 8).Select(tile => (int)BitConverter.ToUInt16(configuration, 16 + (2 * tile))));
        Assert.All(configuration[32..48], value => Assert.Equal(0, value));
        Assert.Equal(Enumerable.Repeat((byte)16, 8), configuration[48..56]);
        Assert.All(configuration[56..], value => Assert.Equal(0, value));
    }

    [Fact]
    public void A_product_is_the_reference_for_every_odd_size()
    {
        using CpuBackend backend = Create();
        int seed = 1;

        // The last two are wide enough for items of four and of eight panels.
        foreach ((int outputs, int inputs) in new[] { (1, 1), (33, 31), (64, 64), (97, 67), (130, 1031), (1100, 40), (2100, 40) })
        {
            HostTensor weight = HostTensor.Random(outputs, inputs, seed++);
            using WeightMatrix matrix = Pack(backend, weight);
            foreach (int rows in new[] { 1, 5, 16, 17, 33 })
            {
                HostTensor x = HostTensor.Random(rows, inputs, seed++);
                HostTensor rounded = new(rows, inputs);
                for (int i = 0; i < x.Values.Length; i++)
                {
                    rounded.Values[i] = BFloat16.ToSingle(BFloat16.FromSingle(x.Values[i]));
                }

                float[] y = Multiply(backend, x, matrix);

                HostTensor kept = new(outputs, inputs);
                backend.ReadMatrix(matrix, 0, kept.Values);
                double[] scale = Reference.MatMul(x.Absolute(), kept.Absolute());
                Closeness.AssertCloseByScale(Reference.MatMul(rounded, kept), scale, y, 1e-6, $"[{rows}, {inputs}] x [{outputs}, {inputs}]");
            }
        }
    }

    [Fact]
    public void A_row_has_the_same_bits_alone_and_in_any_batch()
    {
        using CpuBackend backend = Create();
        HostTensor x = HostTensor.Random(300, 600, 6);
        using WeightMatrix matrix = Pack(backend, HostTensor.Random(70, 600, 5));

        float[] all = Multiply(backend, x, matrix);

        foreach ((int first, int count) in new[] { (0, 1), (299, 1), (17, 1), (3, 2), (40, 16), (60, 17), (256, 44) })
        {
            float[] part = Multiply(backend, x.Slice(first, count), matrix);
            Closeness.AssertSameBits(all.AsSpan(first * 70, count * 70), part, $"rows {first} + {count}");
        }
    }

    [Theory]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void Quantised_products_by_tiles_have_the_bits_of_dot_products(WeightFormat format)
    {
        if (EmittedKernels.IntegerDots is not { } dots)
        {
            // Tiles take dot products for few rows, so that a machine without those has no use for tiles either.
            return;
        }

        InterpretedTiles kernels = new();
        using CpuBackend tiles = new(new CpuOptions { ThreadCount = 2 }, null, new ProductChoice(kernels, null, dots));
        using CpuBackend plain = new(new CpuOptions { ThreadCount = 2 }, null, new ProductChoice(null, null, dots));
        foreach ((int outputs, int inputs) in new[] { (33, 31), (64, 64), (70, 600), (40, 4200) })
        {
            HostTensor weight = HostTensor.Random(outputs, inputs, outputs);
            using WeightMatrix matrix = Pack(tiles, weight, format);
            using WeightMatrix plainMatrix = Pack(plain, weight, format);
            foreach (int rows in new[] { 17, 32, 100 })
            {
                // Values of all sizes, and a group of the largest integers there are.
                HostTensor x = HostTensor.Random(rows, inputs, rows);
                x.Values.AsSpan(0, Math.Min(inputs, 40)).Fill(-1e4f);

                Closeness.AssertSameBits(
                    Multiply(plain, x, plainMatrix), Multiply(tiles, x, matrix), $"{format} [{rows}, {inputs}] x [{outputs}, {inputs}]");
            }
        }

        Assert.NotEqual(0, kernels.Calls);
    }

    [Fact]
    public void The_processor_gives_the_bits_of_the_interpreter()
    {
        if (TileSupport.Own.Kernels is null)
        {
            // Said by the option, too: a machine without tiles does not pretend to have them.
            Assert.Contains("AMX", Assert.Throws<ArgumentException>(() => new CpuBackend(new CpuOptions { Products = CpuProducts.Tiles })).Message);
            return;
        }

        using CpuBackend interpreted = Create();
        using CpuBackend own = new(new CpuOptions { ThreadCount = 2, Products = CpuProducts.Tiles });
        HostTensor weight = HostTensor.Random(70, 600, 5);
        using WeightMatrix matrix = Pack(interpreted, weight);
        using WeightMatrix ownMatrix = Pack(own, weight);
        foreach (int rows in new[] { 1, 16, 40 })
        {
            HostTensor x = HostTensor.Random(rows, 600, rows);
            Closeness.AssertSameBits(Multiply(interpreted, x, matrix), Multiply(own, x, ownMatrix), $"{rows} rows");
        }
    }

    private static CpuBackend Create() =>
        new(new CpuOptions { ThreadCount = 2 }, null, new ProductChoice(new InterpretedTiles(), null, null));

    private static WeightMatrix Pack(CpuBackend backend, HostTensor weight, WeightFormat format = WeightFormat.BF16) => backend.CreateMatrix(
        weight.Rows,
        weight.Columns,
        format,
        "weight",
        (first, target) => weight.Values.AsSpan(first * weight.Columns, target.Length).CopyTo(target));

    private static float[] Multiply(CpuBackend backend, HostTensor x, WeightMatrix matrix)
    {
        using DeviceBuffer input = backend.Allocate((long)x.Rows * x.Columns * sizeof(float), "x");
        using DeviceBuffer output = backend.Allocate((long)x.Rows * matrix.Rows * sizeof(float), "y");
        backend.Write(x.Values, input);
        TensorView y = new(output, x.Rows, matrix.Rows);
        backend.MatMul(new TensorView(input, x.Rows, x.Columns), matrix, y);
        float[] values = new float[x.Rows * matrix.Rows];
        backend.Read(y, values);
        return values;
    }

    /// <summary>Calls the kernels with arguments that are wrong.</summary>
    private sealed class ChangedTiles(ChangedTiles.Change change) : ITileKernels
    {
        private readonly InterpretedTiles _kernels = new();

        public Change ChangeRow { get; init; } = _ => { };

        public delegate void Change(DotArguments* arguments);

        public void Begin() => _kernels.Begin();

        public void BeginIntegers() => _kernels.BeginIntegers();

        public void End() => _kernels.End();

        public void Int8(DotArguments* arguments)
        {
            DotArguments changed = *arguments;
            change(&changed);
            _kernels.Int8(&changed);
        }

        public void NF4(DotArguments* arguments)
        {
            DotArguments changed = *arguments;
            change(&changed);
            _kernels.NF4(&changed);
        }

        public void Narrow(DotArguments* arguments)
        {
            DotArguments changed = *arguments;
            change(&changed);
            _kernels.Narrow(&changed);
        }

        public void Row(DotArguments* arguments)
        {
            DotArguments changed = *arguments;
            ChangeRow(&changed);
            _kernels.Row(&changed);
        }

        public void SquareAhead(DotArguments* arguments)
        {
            DotArguments changed = *arguments;
            change(&changed);
            _kernels.SquareAhead(&changed);
        }

        public void Square(DotArguments* arguments)
        {
            DotArguments changed = *arguments;
            change(&changed);
            _kernels.Square(&changed);
        }
    }
}
