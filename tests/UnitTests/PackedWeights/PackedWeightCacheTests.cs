using InferenceServer.Cpu;
using InferenceServer.Models.PackedWeights;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Packed;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.UnitTests.AdapterStore;
using Xunit;

namespace InferenceServer.UnitTests.PackedWeights;

public sealed class PackedWeightCacheTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly CpuBackend _backend = new(new CpuOptions { ThreadCount = 2 });
    private readonly List<PackedCacheEvent> _events = [];

    public PackedWeightCacheTests() => new TinyLlama().Write(Model);

    private string Model => _folder["tiny"];

    private string Cache => _folder["packed"];

    public void Dispose()
    {
        _backend.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void The_second_load_reads_what_the_first_packed(WeightFormat format)
    {
        using TransformerModel first = Load(format);
        using TransformerModel second = Load(format);

        Assert.Equal([PackedCacheEventKind.Saved, PackedCacheEventKind.Used], Kinds());
        AssertSame(first, second);
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void Weights_used_in_place_stay_when_the_file_is_removed(WeightFormat format)
    {
        // Without huge pages there is nothing to be gained by copying.
        using CpuBackend mapping = new(new CpuOptions { ThreadCount = 2, HugePages = false });
        using TransformerModel first = Load(format);
        using TransformerModel second = TransformerModel.Load(Model, mapping, Options(format, Create(beforeStep: null)));
        File.Delete(Assert.Single(Files()));

        Assert.Equal([PackedCacheEventKind.Saved, PackedCacheEventKind.Used], Kinds());
        Assert.EndsWith(OperatingSystem.IsLinux() ? "used in place" : "copied", _events[^1].Detail, StringComparison.Ordinal);
        AssertSame(first, second);
    }

    [Fact]
    public void Weights_are_copied_when_they_are_not_to_be_mapped()
    {
        using CpuBackend copying = new(new CpuOptions { ThreadCount = 2, HugePages = false, MapWeights = false });
        using TransformerModel first = Load(WeightFormat.NF4);
        using TransformerModel second = TransformerModel.Load(Model, copying, Options(WeightFormat.NF4, Create(beforeStep: null)));

        Assert.EndsWith("copied", _events[^1].Detail, StringComparison.Ordinal);
        AssertSame(first, second);
    }

    [Fact]
    public void Each_format_has_a_file_of_its_own()
    {
        Load(WeightFormat.BF16).Dispose();
        Load(WeightFormat.Int8).Dispose();

        Assert.Equal([PackedCacheEventKind.Saved, PackedCacheEventKind.Saved], Kinds());
        Assert.Equal(2, Files().Length);
    }

    [Theory]
    [InlineData("flip")]
    [InlineData("cut")]
    [InlineData("header")]
    [InlineData("empty")]
    [InlineData("foreign")]
    public void A_file_that_is_not_right_is_named_and_written_anew(string harm)
    {
        using TransformerModel first = Load(WeightFormat.NF4);
        string file = Assert.Single(Files());
        byte[] good = File.ReadAllBytes(file);
        Harm(file, good, harm);

        using TransformerModel second = Load(WeightFormat.NF4);

        Assert.Equal([PackedCacheEventKind.Saved, PackedCacheEventKind.Refused, PackedCacheEventKind.Saved], Kinds());
        Assert.Equal(file, _events[1].File);
        AssertSame(first, second);
        Assert.Equal(good, File.ReadAllBytes(file));
        Load(WeightFormat.NF4).Dispose();
        Assert.Equal(PackedCacheEventKind.Used, _events[^1].Kind);
    }

    [Fact]
    public void Another_checkpoint_or_config_or_time_has_another_key()
    {
        Load(WeightFormat.BF16).Dispose();

        new TinyLlama { Seed = 2 }.Write(Model);
        Load(WeightFormat.BF16).Dispose();
        File.SetLastWriteTimeUtc(Path.Combine(Model, "model.safetensors"), new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc));
        Load(WeightFormat.BF16).Dispose();
        string config = Path.Combine(Model, "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("1E-05", "2E-05", StringComparison.Ordinal));
        Load(WeightFormat.BF16).Dispose();

        Assert.All(Kinds(), kind => Assert.Equal(PackedCacheEventKind.Saved, kind));
        Assert.Equal(4, Files().Length);
    }

    [Fact]
    public void Weights_of_the_same_length_and_time_are_told_apart_by_samples()
    {
        string weights = Path.Combine(Model, "model.safetensors");
        DateTime time = File.GetLastWriteTimeUtc(weights);
        long length = new FileInfo(weights).Length;
        Load(WeightFormat.BF16).Dispose();

        new TinyLlama { Seed = 2 }.Write(Model);
        File.SetLastWriteTimeUtc(weights, time);
        Load(WeightFormat.BF16).Dispose();

        Assert.Equal(length, new FileInfo(weights).Length);
        Assert.Equal([PackedCacheEventKind.Saved, PackedCacheEventKind.Saved], Kinds());
    }

    [Theory]
    [InlineData("create folder")]
    [InlineData("create")]
    [InlineData("write")]
    [InlineData("rename")]
    public void A_disk_that_fails_costs_nothing_but_the_file(string step)
    {
        using TransformerModel model = Load(WeightFormat.BF16, WithFailure(step));

        Assert.Equal([PackedCacheEventKind.NotSaved], Kinds());
        Assert.Contains("No space left on device", _events[0].Detail, StringComparison.Ordinal);
        Assert.True(!Directory.Exists(Cache) || Directory.GetFiles(Cache).Length == 0);
        using TransformerModel fresh = Load(WeightFormat.BF16, cache: null);
        AssertSame(fresh, model);
    }

    [Fact]
    public void A_failed_writing_leaves_the_older_file_as_it_was()
    {
        Load(WeightFormat.BF16).Dispose();
        byte[] good = File.ReadAllBytes(Assert.Single(Files()));
        new TinyLlama { Seed = 2 }.Write(Model);

        Load(WeightFormat.BF16, WithFailure("rename")).Dispose();

        Assert.Equal(good, File.ReadAllBytes(Assert.Single(Directory.GetFiles(Cache))));
    }

    [Fact]
    public void No_file_is_written_that_would_fill_the_disk_or_exceed_the_cache()
    {
        Load(WeightFormat.BF16, Create(new PackedCacheOptions { MinimumBytes = 0, LeaveFreeBytes = long.MaxValue })).Dispose();
        Load(WeightFormat.BF16, Create(new PackedCacheOptions { MinimumBytes = 0, LeaveFreeBytes = 0, MaxBytes = 1000 })).Dispose();

        Assert.Equal([PackedCacheEventKind.NotSaved, PackedCacheEventKind.NotSaved], Kinds());
        Assert.Empty(Files());
    }

    [Fact]
    public void A_small_checkpoint_is_not_kept()
    {
        Load(WeightFormat.BF16, Create(new PackedCacheOptions())).Dispose();

        Assert.Empty(_events);
        Assert.False(Directory.Exists(Cache));
    }

    [Fact]
    public void What_was_used_longest_ago_makes_room()
    {
        Load(WeightFormat.BF16).Dispose();
        Load(WeightFormat.F32).Dispose();
        Load(WeightFormat.BF16).Dispose();
        foreach (string file in Files())
        {
            // Apart by more than a file system's clock: the bf16 file was used last.
            bool isLast = file.Contains("bf16", StringComparison.Ordinal);
            File.SetLastWriteTimeUtc(file, new DateTime(2026, 1, isLast ? 2 : 1, 0, 0, 0, DateTimeKind.Utc));
        }

        long room = Files().Sum(file => new FileInfo(file).Length);
        Load(WeightFormat.Int8, Create(new PackedCacheOptions { MinimumBytes = 0, LeaveFreeBytes = 0, MaxBytes = room })).Dispose();

        PackedCacheEvent evicted = Assert.Single(_events, item => item.Kind == PackedCacheEventKind.Evicted);
        Assert.Contains("f32", evicted.File, StringComparison.Ordinal);
        Assert.Equal(2, Files().Length);
    }

    [Fact]
    public void Reading_a_file_counts_as_its_use()
    {
        Load(WeightFormat.BF16).Dispose();
        string file = Assert.Single(Files());
        DateTime old = new(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(file, old);

        Load(WeightFormat.BF16).Dispose();

        Assert.True(File.GetLastWriteTimeUtc(file) > old);
    }

    [Fact]
    public void Halves_of_killed_processes_are_swept_but_not_what_is_being_written()
    {
        Directory.CreateDirectory(Cache);
        string dead = Path.Combine(Cache, "tiny-bf16-0000.packed.1.partial");
        string alive = Path.Combine(Cache, "tiny-bf16-0000.packed.2.partial");
        File.WriteAllText(dead, "half");
        using FileStream writing = new(alive, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.Delete });

        Load(WeightFormat.BF16).Dispose();

        Assert.False(File.Exists(dead));
        Assert.True(File.Exists(alive));
    }

    [Fact]
    public async Task A_model_that_goes_while_it_is_written_leaves_nothing()
    {
        using ManualResetEventSlim writing = new();
        using ManualResetEventSlim goOn = new();
        PackedWeightCache cache = Create(step =>
        {
            if (step == "write")
            {
                writing.Set();
                goOn.Wait();
            }
        });
        TransformerModel model = TransformerModel.Load(Model, _backend, Options(WeightFormat.BF16, cache));
        writing.Wait();

        // Disposing asks the writing to stop and waits for it; the writing waits for the test.
        Task disposing = Task.Run(model.Dispose);
        SpinWait.SpinUntil(() => model.Saving!.IsStopping);
        goOn.Set();
        await disposing;

        Assert.Empty(_events);
        Assert.Empty(Directory.GetFiles(Cache));
    }

    [Fact]
    public void A_checkpoint_that_changes_while_it_is_read_is_not_kept()
    {
        PackedWeightCache cache = Create(step =>
        {
            if (step == "write")
            {
                File.SetLastWriteTimeUtc(Path.Combine(Model, "model.safetensors"), new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc));
            }
        });

        Load(WeightFormat.BF16, cache).Dispose();

        Assert.Equal([PackedCacheEventKind.NotSaved], Kinds());
        Assert.Empty(Directory.GetFiles(Cache));
    }

    private static void Harm(string file, byte[] good, string harm)
    {
        byte[] bad = [.. good];
        switch (harm)
        {
            case "flip":
                bad[^1] ^= 1;
                break;
            case "cut":
                bad = bad[..^1000];
                break;
            case "header":
                bad[60] ^= 1;
                break;
            case "empty":
                bad = [];
                break;
            default:
                // Written by the same program about something else, under this name.
                using (FileStream stream = File.Create(file))
                {
                    PackedFileWriter.Write(stream, "another key", new PlainBackend(), [new PlainMatrix("m", 2, 3)], CancellationToken.None);
                }

                return;
        }

        File.WriteAllBytes(file, bad);
    }

    private static ModelLoadOptions Options(WeightFormat format, PackedWeightCache? cache) =>
        new() { Weights = format, MaxBatchTokens = 4, MaxSampledRows = 1, PackedWeights = cache };

    private PackedWeightCache Create(PackedCacheOptions options) => new(Cache, options, new EventList(_events));

    private PackedWeightCache Create(Action<string>? beforeStep) =>
        new(Cache, new PackedCacheOptions { MinimumBytes = 0, LeaveFreeBytes = 0 }, new EventList(_events)) { BeforeStep = beforeStep };

    private PackedWeightCache WithFailure(string step) => Create(now =>
    {
        if (now == step)
        {
            throw new IOException("No space left on device");
        }
    });

    private TransformerModel Load(WeightFormat format) => Load(format, Create(beforeStep: null));

    private TransformerModel Load(WeightFormat format, PackedWeightCache? cache)
    {
        TransformerModel model = TransformerModel.Load(Model, _backend, Options(format, cache));
        model.Saving?.Join();
        return model;
    }

    private string[] Files() => Directory.Exists(Cache) ? Directory.GetFiles(Cache, "*.packed") : [];

    private PackedCacheEventKind[] Kinds() => [.. _events.Select(item => item.Kind)];

    private void AssertSame(TransformerModel left, TransformerModel right)
    {
        Assert.Equal(left.WeightBytes, right.WeightBytes);
        foreach (ModuleShape module in left.Shape.Modules.Where(module => module.Kind == ModuleKind.Linear))
        {
            Assert.True(_backend.AreIdentical(left.WeightInUse(module), right.WeightInUse(module)), module.Path);
        }

        Assert.True(_backend.AreIdentical(left.Parts.Embedding, right.Parts.Embedding));
    }

    private sealed class EventList(List<PackedCacheEvent> events) : IProgress<PackedCacheEvent>
    {
        public void Report(PackedCacheEvent value) => events.Add(value);
    }
}
