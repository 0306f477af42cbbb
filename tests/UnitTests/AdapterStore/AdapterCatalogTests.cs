using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

public sealed class AdapterCatalogTests : IDisposable
{
    private readonly TemporaryFolder _root = new();

    public void Dispose() => _root.Dispose();

    [Fact]
    public void An_upload_survives_a_restart_and_loads_as_it_was()
    {
        AdapterRecord stored;
        AdapterWeights before;
        using (AdapterCatalog catalog = Open())
        {
            stored = Upload(catalog, "fr-legal", 1, usesDora: true);
            before = catalog.Load(stored.Id, CancellationToken.None);
        }

        using AdapterCatalog again = Open();

        Assert.Empty(again.Problems);
        AdapterRecord record = Assert.Single(again.List());
        Assert.Equal(stored.Id, record.Id);
        Assert.Equal(stored.Manifest.TargetModules, record.Manifest.TargetModules);
        Assert.Equal(before.ByteCount, again.Measure(record.Id).HostBytes);
        AdapterWeights after = again.Load(record.Id, CancellationToken.None);
        Assert.Equal(before.Deltas.Select(delta => delta?.OutputScale), after.Deltas.Select(delta => delta?.OutputScale));
        Assert.Equal(before.Deltas.Select(delta => delta?.B?.Values), after.Deltas.Select(delta => delta?.B?.Values));
        Assert.Empty(Directory.GetFileSystemEntries(_root["staging"]));
    }

    [Fact]
    public void A_later_load_takes_the_kept_scales_and_does_not_read_the_base_again()
    {
        int reads = 0;
        ModelShape counted = new("tiny", 2, false, "lm_head", TinyModel.Shape.Modules, Read, TinyModel.Bias);
        void Read(ModuleShape module, int firstRow, Memory<float> destination)
        {
            reads++;
            TinyModel.Shape.ReadRows(module, firstRow, destination);
        }

        using AdapterCatalog catalog = new(Options(), counted);
        AdapterRecord record = Upload(catalog, "dora", 1, usesDora: true);
        int afterImport = reads;

        _ = catalog.Load(record.Id, CancellationToken.None);

        Assert.NotNull(record.Derived);
        Assert.Equal(afterImport, reads);
    }

    [Fact]
    public void The_digest_depends_on_every_byte_and_not_on_the_name_or_the_chunks()
    {
        using AdapterCatalog catalog = Open();
        (byte[] config, byte[] weights) = TinyModel.Adapter(1);

        AdapterRecord whole = Upload(catalog, "a", config, weights, chunk: int.MaxValue);
        AdapterRecord chunked = Upload(catalog, "b", config, weights, chunk: 7);
        AdapterRecord other = Upload(catalog, "a", [.. config, (byte)' '], weights, chunk: 64);

        Assert.Equal(whole.Digest, chunked.Digest);
        Assert.NotEqual(whole.Digest, other.Digest);
        Assert.NotEqual(whole.Id, chunked.Id);
    }

    [Fact]
    public void A_new_upload_is_current_old_versions_can_be_activated_and_the_oldest_goes()
    {
        using AdapterCatalog catalog = Open(keepVersions: 2);
        AdapterRecord first = Upload(catalog, "a", 1);
        AdapterRecord second = Upload(catalog, "a", 2);

        Assert.Equal(second.Id, catalog.Get("a").Id);
        Assert.Equal(first.Id, catalog.Activate("a", first.Digest).Id);
        Assert.Equal(first.Id, catalog.Get("a").Id);
        Assert.Equal(second.Id, catalog.Get(second.Id.ToString()).Id);

        AdapterRecord third = Upload(catalog, "a", 3);
        Assert.Equal([second.Id, third.Id], catalog.Versions("a").Select(record => record.Id));
        Assert.Throws<AdapterNotFoundException>(() => catalog.Activate("a", first.Digest));
        Assert.Throws<AdapterNotFoundException>(() => catalog.Load(first.Id, CancellationToken.None));
        Assert.False(Directory.Exists(_root[$"adapters/a/{first.Digest}"]));
    }

    [Fact]
    public void Uploading_the_same_contents_again_is_the_same_version_made_current()
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord first = Upload(catalog, "a", 1);
        _ = Upload(catalog, "a", 2);

        AdapterRecord again = Upload(catalog, "a", 1);

        Assert.Equal(first, again);
        Assert.Equal(first.Id, catalog.Get("a").Id);
        Assert.Equal(2, catalog.Versions("a").Count);
    }

    [Fact]
    public void A_deleted_name_is_gone_for_good()
    {
        using (AdapterCatalog catalog = Open())
        {
            AdapterRecord record = Upload(catalog, "a", 1);
            Upload(catalog, "b", 2);

            Assert.Equal([record.Id], catalog.Delete("a"));
            Assert.Throws<AdapterNotFoundException>(() => catalog.Get("a"));
            Assert.Throws<AdapterNotFoundException>(() => catalog.Delete("a"));
        }

        using AdapterCatalog again = Open();
        Assert.Equal("b", Assert.Single(again.List()).Name);
    }

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("../x")]
    [InlineData("a/b")]
    [InlineData("a\\b")]
    [InlineData("/etc/passwd")]
    [InlineData("-a")]
    [InlineData(".a")]
    [InlineData("a b")]
    [InlineData("a\0b")]
    [InlineData("a@b")]
    [InlineData("é")]
    [InlineData("base")]
    [InlineData("None")]
    public void Names_that_are_paths_or_reserved_are_refused(string name)
    {
        using AdapterCatalog catalog = Open();

        Assert.Throws<AdapterFormatException>(() => catalog.BeginUpload(name));
        Assert.False(catalog.TryGet(name, out _));
    }

    [Fact]
    public void Names_up_to_128_characters_are_accepted_and_longer_ones_refused()
    {
        Assert.True(AdapterName.IsValid("A1._-" + new string('z', 123)));
        Assert.False(AdapterName.IsValid("A1._-" + new string('z', 124)));
    }

    [Fact]
    public void An_upload_over_its_limit_is_refused_while_it_arrives_and_leaves_nothing()
    {
        AdapterCatalogOptions options = Options();
        options.Limits = new AdapterLimits { MaxConfigBytes = 100, MaxBytes = 1000 };
        using AdapterCatalog catalog = new(options, TinyModel.Shape);
        using (AdapterUpload upload = catalog.BeginUpload("a"))
        {
            Assert.Equal(["a"], catalog.PendingUploads);
            upload.Write(AdapterFilePart.Weights, new byte[1000]);
            AdapterFormatException tooLarge = Assert.Throws<AdapterFormatException>(() => upload.Write(AdapterFilePart.Weights, [0]));
            Assert.Contains("MaxBytes 1000", tooLarge.Message, StringComparison.Ordinal);
            Assert.Throws<AdapterFormatException>(() => upload.Write(AdapterFilePart.Config, new byte[101]));
        }

        Assert.Empty(catalog.List());
        Assert.Empty(catalog.PendingUploads);
        Assert.Empty(Directory.GetFileSystemEntries(_root["staging"]));
    }

    [Fact]
    public void A_refused_adapter_leaves_the_one_before_it_current()
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord first = Upload(catalog, "a", 1);
        (byte[] config, byte[] weights) = TinyModel.Adapter(2);

        Assert.Throws<AdapterFormatException>(() => Upload(catalog, "a", config, weights[..^1]));
        using (AdapterUpload empty = catalog.BeginUpload("a"))
        {
            Assert.Throws<AdapterFormatException>(() => empty.Commit());
        }

        Assert.Equal(first.Id, catalog.Get("a").Id);
        Assert.Empty(Directory.GetFileSystemEntries(_root["staging"]));
    }

    [Fact]
    public void Files_that_change_while_the_server_runs_are_refused_at_the_next_load()
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord record = Upload(catalog, "a", 1);
        string path = _root[$"adapters/a/{record.Digest}/adapter_model.safetensors"];
        byte[] bytes = File.ReadAllBytes(path);
        bytes[20] ^= 1;
        File.WriteAllBytes(path, bytes);

        Assert.Throws<AdapterFormatException>(() => catalog.Load(record.Id, CancellationToken.None));
        Assert.Throws<AdapterFormatException>(() => catalog.LoadForDevice(record.Id, CancellationToken.None));
        File.WriteAllBytes(path, bytes[..50]);
        Assert.Throws<AdapterFormatException>(() => catalog.Load(record.Id, CancellationToken.None));
        Assert.Throws<AdapterFormatException>(() => catalog.LoadForDevice(record.Id, CancellationToken.None));
        File.Delete(path);
        Assert.Throws<AdapterFormatException>(() => catalog.LoadForDevice(record.Id, CancellationToken.None));
        Assert.Equal(0, catalog.LentBytes);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_load_for_a_device_holds_what_a_load_holds(bool usesDora)
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord record = Upload(catalog, "a", 1, usesDora);
        AdapterWeights expected = catalog.Load(record.Id, CancellationToken.None);

        AdapterWeights weights = catalog.LoadForDevice(record.Id, CancellationToken.None);

        Assert.Equal(expected.Label, weights.Label);
        Assert.Equal(expected.ByteCount, weights.ByteCount);
        Assert.Contains(weights.Deltas, delta => delta?.A is { IsStored: true });
        AdapterChecks.SameBits(expected.Deltas, weights.Deltas);
        Assert.True(catalog.LentBytes >= record.Weights.Bytes);
        weights.Release();
        weights.Release();
        Assert.Equal(0, catalog.LentBytes);
        Assert.Throws<ObjectDisposedException>(() => weights.Deltas.First(delta => delta?.A is not null)!.A!.Values);
    }

    [Fact]
    public void A_cancelled_load_for_a_device_leaves_no_memory_behind()
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord record = Upload(catalog, "a", 1);

        Assert.ThrowsAny<OperationCanceledException>(() => catalog.LoadForDevice(record.Id, new CancellationToken(canceled: true)));

        Assert.Equal(0, catalog.LentBytes);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    public void Elements_that_are_not_finite_are_refused_by_a_load_for_a_device_too(float value)
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord record = Upload(catalog, "a", 1);
        string path = _root[$"adapters/a/{record.Digest}/adapter_model.safetensors"];
        byte[] bytes = File.ReadAllBytes(path);
        BitConverter.TryWriteBytes(bytes.AsSpan(bytes.Length - sizeof(float)), value);
        File.WriteAllBytes(path, bytes);

        string expected = Assert.Throws<AdapterFormatException>(() => catalog.Load(record.Id, CancellationToken.None)).Message;

        Assert.Equal(expected, Assert.Throws<AdapterFormatException>(() => catalog.LoadForDevice(record.Id, CancellationToken.None)).Message);
        Assert.Equal(0, catalog.LentBytes);
    }

    [Fact]
    public void An_adapter_of_another_base_is_not_served_until_it_is_uploaded_again()
    {
        AdapterRecord record;
        using (AdapterCatalog catalog = Open())
        {
            record = Upload(catalog, "a", 1, usesDora: true);
        }

        using AdapterCatalog other = new(Options(), TinyModel.Create(2));
        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => other.Load(record.Id, CancellationToken.None));
        Assert.Contains("another base 'tiny'", error.Message, StringComparison.Ordinal);

        AdapterRecord again = Upload(other, "a", 1, usesDora: true);
        Assert.Equal(record.Id, again.Id);
        _ = other.Load(again.Id, CancellationToken.None);
    }

    [Fact]
    public void One_folder_serves_one_catalog_at_a_time()
    {
        using AdapterCatalog catalog = Open();

        Assert.ThrowsAny<IOException>(() => Open());
    }

    [Fact]
    public void A_local_folder_comes_in_by_the_same_door()
    {
        using TemporaryFolder folder = new();
        (byte[] config, byte[] weights) = TinyModel.Adapter(1);
        folder.Write(config, weights);
        using AdapterCatalog catalog = Open();

        AdapterRecord imported = catalog.ImportFolder("a", folder.Path);

        Assert.Equal(Upload(catalog, "b", config, weights).Digest, imported.Digest);
        File.Delete(folder["adapter_model.safetensors"]);
        Assert.Throws<AdapterFormatException>(() => catalog.ImportFolder("c", folder.Path));
    }

    [Fact]
    public async Task Uploads_roll_backs_and_loads_at_once_leave_a_sound_catalog()
    {
        using (AdapterCatalog catalog = Open(keepVersions: 2))
        {
            async Task WorkAsync(int seed)
            {
                Random random = new(seed);
                for (int i = 0; i < 12; i++)
                {
                    await Task.Yield();
                    AdapterRecord record = Upload(catalog, $"n{random.Next(2)}", random.Next(4), usesDora: true);
                    try
                    {
                        Assert.Equal(record.Manifest.HostBytes, catalog.Load(record.Id, CancellationToken.None).ByteCount);
                        catalog.Activate(record.Name, record.Digest);
                    }
                    catch (AdapterNotFoundException)
                    {
                        // Another upload has pushed it out since.
                        Assert.Equal(2, catalog.Versions(record.Name).Count);
                    }
                }
            }

            await Task.WhenAll(Enumerable.Range(0, 4).Select(seed => Task.Run(() => WorkAsync(seed))));
            Assert.Empty(catalog.Problems);
        }

        using AdapterCatalog again = Open();
        Assert.Empty(again.Problems);
        Assert.Equal(2, again.List().Count);
        Assert.All(again.List(), record => Assert.Equal(2, Directory.GetDirectories(_root[$"adapters/{record.Name}"]).Length));
    }

    [Fact]
    public async Task The_cache_serves_what_the_catalog_holds()
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord record = Upload(catalog, "a", 1);
        long[] created = new long[1];
        using AdapterCache cache = new(
            catalog,
            weights =>
            {
                created[0] = weights.ByteCount;
                return new FakeAdapters().CreateDevice(weights);
            },
            WeightFormat.F32,
            new AdapterCacheOptions(),
            TimeProvider.System,
            work => work());

        using AdapterLease lease = await cache.AcquireAsync(catalog.Get("a").Id);

        Assert.Equal(record.Manifest.HostBytes, created[0]);
        Assert.Equal(record.Id.ToString(), lease.Adapter.Label);
    }

    private AdapterCatalogOptions Options(int keepVersions = 3) => new() { Root = _root.Path, KeepVersions = keepVersions };

    private AdapterCatalog Open(int keepVersions = 3) => new(Options(keepVersions), TinyModel.Shape);

    private static AdapterRecord Upload(AdapterCatalog catalog, string name, int seed, bool usesDora = false)
    {
        (byte[] config, byte[] weights) = TinyModel.Adapter(seed, usesDora);
        return Upload(catalog, name, config, weights);
    }

    private static AdapterRecord Upload(AdapterCatalog catalog, string name, byte[] config, byte[] weights, int chunk = 100)
    {
        using AdapterUpload upload = catalog.BeginUpload(name);
        foreach (byte[] part in weights.Chunk(chunk))
        {
            upload.Write(AdapterFilePart.Weights, part);
        }

        foreach (byte[] part in config.Chunk(chunk))
        {
            upload.Write(AdapterFilePart.Config, part);
        }

        return upload.Commit();
    }
}
