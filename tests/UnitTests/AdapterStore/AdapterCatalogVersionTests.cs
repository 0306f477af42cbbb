using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>Versions that are staged, must be new, or go one by one; each outcome looked at again after a restart.</summary>
public sealed class AdapterCatalogVersionTests : IDisposable
{
    private readonly TemporaryFolder _root = new();

    public void Dispose() => _root.Dispose();

    [Fact]
    public void A_staged_version_is_stored_but_not_current()
    {
        AdapterRecord first;
        AdapterRecord staged;
        using (AdapterCatalog catalog = Open())
        {
            first = Upload(catalog, "a", 1);
            staged = Upload(catalog, "a", 2, UploadMode.StageOnly);
            Assert.Equal(first.Digest, catalog.Get("a").Digest);
        }

        using AdapterCatalog again = Open();
        Assert.Equal(first.Digest, again.Get("a").Digest);
        Assert.Equal([first.Digest, staged.Digest], again.Versions("a").Select(record => record.Digest));
        again.Activate("a", staged.Digest);
        Assert.Equal(staged.Digest, again.Get("a").Digest);
    }

    [Fact]
    public void A_pin_is_noted_for_its_version_and_goes_with_it()
    {
        AdapterRecord first;
        AdapterRecord second;
        using (AdapterCatalog catalog = Open(keepVersions: 2))
        {
            first = Upload(catalog, "a", 1);
            second = Upload(catalog, "a", 2);
            catalog.SetPinned(first.Id, true);
            catalog.SetPinned(second.Id, true);
            catalog.SetPinned(second.Id, true);
            Assert.Throws<AdapterNotFoundException>(() => catalog.SetPinned(new AdapterId("none", first.Digest), true));
        }

        using (AdapterCatalog catalog = Open(keepVersions: 2))
        {
            Assert.Equal([first.Id, second.Id], catalog.Pinned());
            catalog.Activate("a", first.Digest);
            catalog.SetPinned(second.Id, false);
            Assert.Equal([first.Id], catalog.Pinned());

            // Takes the place of the oldest version.
            Upload(catalog, "a", 3);
            Assert.False(catalog.IsPinned(first.Id));
        }

        using AdapterCatalog again = Open(keepVersions: 2);
        Assert.Empty(again.Pinned());
        Assert.Empty(again.Problems);
    }

    [Fact]
    public void A_name_that_has_only_a_staged_version_has_no_current_one()
    {
        AdapterRecord staged;
        using (AdapterCatalog catalog = Open())
        {
            staged = Upload(catalog, "a", 1, UploadMode.StageOnly);
        }

        using AdapterCatalog again = Open();
        Assert.Empty(again.Problems);
        Assert.Empty(again.List());
        Assert.Equal(staged.Id, Assert.Single(again.ListAll()).Id);
        Assert.Throws<AdapterNotFoundException>(() => again.Get("a"));
        Assert.Equal(staged.Id, again.Get(staged.Id.ToString()).Id);
    }

    [Fact]
    public void Staging_more_versions_than_are_kept_never_drops_the_current_one()
    {
        using AdapterCatalog catalog = Open(keepVersions: 2);
        AdapterRecord current = Upload(catalog, "a", 1);
        Upload(catalog, "a", 2, UploadMode.StageOnly);
        AdapterRecord last = Upload(catalog, "a", 3, UploadMode.StageOnly);

        Assert.Equal([current.Digest, last.Digest], catalog.Versions("a").Select(record => record.Digest));
        Assert.Equal(current.Digest, catalog.Get("a").Digest);
    }

    [Fact]
    public void What_must_be_new_is_refused_at_its_begin_and_at_its_commit()
    {
        using AdapterCatalog catalog = Open();
        using AdapterUpload slow = catalog.BeginUpload("a", UploadMode.MustBeNew);
        Write(slow, 2);
        AdapterRecord first = Upload(catalog, "a", 1);

        Assert.Throws<AdapterExistsException>(() => catalog.BeginUpload("a", UploadMode.MustBeNew));
        Assert.Throws<AdapterExistsException>(() => slow.Commit());

        Assert.Equal(first.Digest, Assert.Single(catalog.Versions("a")).Digest);
        Assert.Empty(Directory.GetFileSystemEntries(_root["staging"]));
    }

    [Fact]
    public void An_upload_says_whether_the_same_files_were_there()
    {
        using AdapterCatalog catalog = Open();
        using AdapterUpload first = catalog.BeginUpload("a");
        Write(first, 1);
        first.Commit();
        using AdapterUpload second = catalog.BeginUpload("a");
        Write(second, 1);
        second.Commit();

        Assert.False(first.WasAlreadyPresent);
        Assert.True(second.WasAlreadyPresent);
        Assert.Single(catalog.ListAll());
    }

    [Fact]
    public void Deleting_the_current_version_makes_the_newest_of_the_others_current_and_the_last_takes_the_name_with_it()
    {
        using AdapterCatalog catalog = Open();
        AdapterRecord first = Upload(catalog, "a", 1);
        AdapterRecord second = Upload(catalog, "a", 2);
        AdapterRecord third = Upload(catalog, "a", 3);

        catalog.Delete(third.Id);
        Assert.Equal(second.Digest, catalog.Get("a").Digest);
        catalog.Delete(first.Id);
        Assert.Equal(second.Digest, catalog.Get("a").Digest);
        Assert.Throws<AdapterNotFoundException>(() => catalog.Delete(first.Id));
        catalog.Delete(second.Id);

        Assert.Empty(catalog.ListAll());
        Assert.Empty(Directory.GetFileSystemEntries(_root["adapters"]));
    }

    private static AdapterRecord Upload(AdapterCatalog catalog, string name, int seed, UploadMode mode = UploadMode.None)
    {
        using AdapterUpload upload = catalog.BeginUpload(name, mode);
        Write(upload, seed);
        return upload.Commit();
    }

    private static void Write(AdapterUpload upload, int seed)
    {
        (byte[] config, byte[] weights) = TinyModel.Adapter(seed);
        upload.Write(AdapterFilePart.Config, config);
        upload.Write(AdapterFilePart.Weights, weights);
    }

    private AdapterCatalog Open(int keepVersions = 3)
    {
        return new AdapterCatalog(new AdapterCatalogOptions { Root = _root.Path, KeepVersions = keepVersions }, TinyModel.Shape);
    }
}
