using System.Globalization;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>Stored adapters that are no longer what was stored: found at start, beside serving or at the first load, put aside and never served.</summary>
public sealed class AdapterCatalogDamageTests : IDisposable
{
    private readonly TemporaryFolder _root = new();

    public void Dispose() => _root.Dispose();

    [Theory]
    [InlineData("adapter_model.safetensors", -1)]
    [InlineData("adapter_model.safetensors", 300)]
    [InlineData("adapter_config.json", 5)]
    [InlineData("record.json", 100)]
    [InlineData("derived.safetensors", -1)]
    public void A_damaged_version_is_put_aside_reported_and_never_served(string file, int flippedByte)
    {
        AdapterRecord damaged;
        AdapterRecord older;
        AdapterRecord other;
        using (AdapterCatalog catalog = Open())
        {
            older = Upload(catalog, "a", 1);
            damaged = Upload(catalog, "a", 2, usesDora: true);
            other = Upload(catalog, "b", 3);
        }

        Flip(_root[$"adapters/a/{damaged.Digest}/{file}"], flippedByte);
        using AdapterCatalog again = Open(ContentCheck.BeforeServing);

        CatalogProblem problem = Assert.Single(again.Problems);
        Assert.Equal(damaged.Id.ToString(), problem.Subject);
        Assert.False(again.TryGet("a", out _));
        Assert.Throws<AdapterNotFoundException>(() => again.Load(damaged.Id, CancellationToken.None));
        Assert.Single(Directory.GetDirectories(_root["quarantine"]));
        Assert.Equal(other.Id, Assert.Single(again.List()).Id);
        Assert.Equal(older.Id, again.Activate("a", older.Digest).Id);
        _ = again.Load(older.Id, CancellationToken.None);
    }

    [Theory]
    [InlineData("adapter_model.safetensors", -1)]
    [InlineData("adapter_config.json", 5)]
    [InlineData("derived.safetensors", -1)]
    public void Damage_that_only_contents_show_is_found_beside_serving(string file, int flippedByte)
    {
        AdapterRecord older;
        AdapterRecord damaged;
        using (AdapterCatalog catalog = Open())
        {
            older = Upload(catalog, "a", 1);
            damaged = Upload(catalog, "a", 2, usesDora: true);
            Upload(catalog, "b", 3);
        }

        Flip(_root[$"adapters/a/{damaged.Digest}/{file}"], flippedByte);
        using (AdapterCatalog again = Open())
        {
            List<CatalogProblem> found = [];
            again.ProblemFound += found.Add;
            Assert.Empty(again.Problems);

            (int versions, long bytes) = again.VerifyContents(CancellationToken.None);

            Assert.Equal((2, older.DiskBytes + again.Get("b").DiskBytes), (versions, bytes));
            Assert.Equal(damaged.Id.ToString(), Assert.Single(found).Subject);
            Assert.False(again.TryGet("a", out _));
            Assert.Single(Directory.GetDirectories(_root["quarantine"]));
            Assert.Equal((0, 0L), again.VerifyContents(CancellationToken.None));
            Assert.Equal(older.Id, again.Activate("a", older.Digest).Id);
        }

        using AdapterCatalog last = Open();
        Assert.Empty(last.Problems);
        Assert.Equal(older.Id, last.Get("a").Id);
    }

    [Fact]
    public void A_damaged_adapter_is_refused_at_its_first_load_if_that_comes_before_the_check()
    {
        AdapterRecord damaged;
        using (AdapterCatalog catalog = Open())
        {
            damaged = Upload(catalog, "a", 1);
        }

        Flip(_root[$"adapters/a/{damaged.Digest}/adapter_model.safetensors"], -1);
        using AdapterCatalog again = Open();

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => again.Load(damaged.Id, CancellationToken.None));

        Assert.Contains("adapter_model.safetensors have changed", error.Message, StringComparison.Ordinal);
        Assert.Equal(damaged.Id.ToString(), Assert.Single(again.Problems).Subject);
        Assert.Throws<AdapterNotFoundException>(() => again.Load(damaged.Id, CancellationToken.None));
        Assert.Equal((0, 0L), again.VerifyContents(CancellationToken.None));
    }

    [Fact]
    public void A_damaged_adapter_that_cannot_be_put_aside_is_not_served_either()
    {
        AdapterRecord damaged;
        using (AdapterCatalog catalog = Open())
        {
            damaged = Upload(catalog, "a", 1);
        }

        Flip(_root[$"adapters/a/{damaged.Digest}/adapter_model.safetensors"], -1);
        FailingFiles files = new();
        using AdapterCatalog again = new(Options(ContentCheck.Beside), TinyModel.Shape, null, files);
        for (int failAt = 0; failAt < 3; failAt++)
        {
            files.FailAt = files.Steps + failAt;
            Assert.ThrowsAny<Exception>(() => again.Load(damaged.Id, CancellationToken.None));
        }

        files.FailAt = -1;
        Assert.Throws<AdapterNotFoundException>(() => again.Load(damaged.Id, CancellationToken.None));
        Assert.NotEmpty(again.Problems);
        Assert.Single(Directory.GetDirectories(_root["quarantine"]));
    }

    [Fact]
    public void An_adapter_that_cannot_be_read_for_a_while_is_not_put_aside()
    {
        AdapterRecord record;
        using (AdapterCatalog catalog = Open())
        {
            record = Upload(catalog, "a", 1);
        }

        using AdapterCatalog again = Open();
        using (new FileStream(_root[$"adapters/a/{record.Digest}/adapter_model.safetensors"], FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            Assert.ThrowsAny<IOException>(() => again.Load(record.Id, CancellationToken.None));
            Assert.Equal((0, 0L), again.VerifyContents(CancellationToken.None));
            Assert.Contains("could not be read", Assert.Single(again.Problems).Reason, StringComparison.Ordinal);
        }

        Assert.Equal(record.Id, again.Get("a").Id);
        Assert.Equal(1, again.VerifyContents(CancellationToken.None).Versions);
        _ = again.Load(record.Id, CancellationToken.None);
        Assert.Empty(Directory.GetDirectories(_root["quarantine"]));
    }

    [Theory]
    [InlineData("catalog.json")]
    [InlineData("{0}/record.json")]
    [InlineData("{0}/adapter_model.safetensors")]
    public void A_name_that_cannot_be_read_at_a_start_stays_as_it_is_for_the_next(string file)
    {
        AdapterRecord older;
        AdapterRecord record;
        AdapterRecord damaged;
        AdapterRecord other;
        using (AdapterCatalog catalog = Open())
        {
            older = Upload(catalog, "a", 1);
            damaged = Upload(catalog, "a", 2);
            record = Upload(catalog, "a", 3);
            other = Upload(catalog, "b", 4);
        }

        Flip(_root[$"adapters/a/{damaged.Digest}/record.json"], 100);
        string path = _root["adapters/a/" + string.Format(CultureInfo.InvariantCulture, file, record.Digest)];
        using (new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            using AdapterCatalog without = Open();

            CatalogProblem problem = Assert.Single(without.Problems);
            Assert.Equal("a", problem.Subject);
            Assert.Contains("could not be read", problem.Reason, StringComparison.Ordinal);
            Assert.False(without.TryGet("a", out _));
            Assert.Equal(other.Id, without.Get("b").Id);
            AdapterStorageException refused = Assert.Throws<AdapterStorageException>(() => Upload(without, "a", 5));
            Assert.Contains("could not be read at the server's start", refused.Message, StringComparison.Ordinal);
            Assert.Empty(Directory.GetDirectories(_root["quarantine"]));
        }

        using AdapterCatalog again = Open();
        Assert.Equal(record.Id, again.Get("a").Id);
        Assert.Equal([older.Id, record.Id], again.Versions("a").Select(version => version.Id));
        Assert.Single(Directory.GetDirectories(_root["quarantine"]));
    }

    [Fact]
    public void The_same_files_again_take_the_place_of_damaged_ones()
    {
        AdapterRecord damaged;
        using (AdapterCatalog catalog = Open())
        {
            damaged = Upload(catalog, "a", 1);
        }

        Flip(_root[$"adapters/a/{damaged.Digest}/adapter_model.safetensors"], -1);
        using AdapterCatalog again = Open();

        AdapterRecord sound = Upload(again, "a", 1);

        Assert.Equal(damaged.Id, sound.Id);
        _ = again.Load(sound.Id, CancellationToken.None);
        Assert.Single(Directory.GetDirectories(_root["quarantine"]));
    }

    [Fact]
    public void The_check_of_contents_stops_when_told_to_and_looks_again_later()
    {
        using (AdapterCatalog catalog = Open())
        {
            Upload(catalog, "a", 1);
        }

        using AdapterCatalog again = Open();

        Assert.Throws<OperationCanceledException>(() => again.VerifyContents(new CancellationToken(canceled: true)));
        Assert.Equal(1, again.VerifyContents(CancellationToken.None).Versions);
    }

    [Fact]
    public void A_damaged_version_list_puts_the_whole_name_aside_and_keeps_its_files()
    {
        using (AdapterCatalog catalog = Open())
        {
            Upload(catalog, "a", 1);
            Upload(catalog, "b", 2);
        }

        File.WriteAllText(_root["adapters/a/catalog.json"], "{\"sha256\":\"00\",\"contents\":{}}");
        using AdapterCatalog again = Open();

        Assert.Equal("a", Assert.Single(again.Problems).Subject);
        Assert.Equal("b", Assert.Single(again.List()).Name);
        Assert.Single(Directory.GetFiles(_root["quarantine"], "adapter_model.safetensors", SearchOption.AllDirectories));
    }

    private static void Flip(string path, int index)
    {
        byte[] bytes = File.ReadAllBytes(path);
        bytes[index < 0 ? ^1 : index] ^= 4;
        File.WriteAllBytes(path, bytes);
    }

    private static AdapterRecord Upload(AdapterCatalog catalog, string name, int seed, bool usesDora = false)
    {
        (byte[] config, byte[] weights) = TinyModel.Adapter(seed, usesDora);
        using AdapterUpload upload = catalog.BeginUpload(name);
        upload.Write(AdapterFilePart.Config, config);
        upload.Write(AdapterFilePart.Weights, weights);
        return upload.Commit();
    }

    private AdapterCatalogOptions Options(ContentCheck check) => new() { Root = _root.Path, VerifyContents = check };

    private AdapterCatalog Open(ContentCheck check = ContentCheck.Beside) => new(Options(check), TinyModel.Shape);
}
