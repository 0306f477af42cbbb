using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>Fails the disk before every single change of an operation, reopens, and looks at what is there.</summary>
public sealed class AdapterCatalogCrashTests
{
    private static readonly (byte[] Config, byte[] Weights) s_old = TinyModel.Adapter(1);
    private static readonly (byte[] Config, byte[] Weights) s_new = TinyModel.Adapter(2, usesDora: true);

    private readonly ITestOutputHelper _output;

    public AdapterCatalogCrashTests(ITestOutputHelper output)
    {
        _output = output;
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public void An_upload_stopped_anywhere_leaves_the_old_version_or_the_new_one(bool hasOld, bool isCrash)
    {
        TryEveryStep(isCrash, hasOld, catalog => Upload(catalog, s_new), (catalog, succeeded, where) =>
        {
            string? state = State(catalog);

            // After an error, not a crash, the new version may be there only when nothing but a sync of a directory failed.
            bool mayBeNew = succeeded || isCrash || where.Contains("(sync directory)", StringComparison.Ordinal);
            bool mayBeOld = !succeeded;
            Assert.True(state == "new" ? mayBeNew : mayBeOld && state == (hasOld ? "old" : null), $"{where}: found {state ?? "nothing"}");
        });
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_roll_back_stopped_anywhere_leaves_one_of_the_two_versions(bool isCrash)
    {
        string oldDigest = "";
        TryEveryStep(
            isCrash,
            true,
            catalog => catalog.Activate("a", oldDigest),
            (catalog, succeeded, where) =>
            {
                string? state = State(catalog);
                Assert.True(succeeded ? state == "old" : state is "old" or "new", $"{where}: found {state ?? "nothing"}");
            },
            catalog =>
            {
                oldDigest = catalog.Get("a").Digest;
                Upload(catalog, s_new);
            });
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_pin_stopped_anywhere_is_noted_or_not_and_loses_nothing(bool isCrash)
    {
        AdapterId id = default;
        TryEveryStep(
            isCrash,
            true,
            catalog => catalog.SetPinned(id, true),
            (catalog, succeeded, where) =>
            {
                Assert.Equal("old", State(catalog));
                Assert.True(!succeeded || catalog.IsPinned(id), $"{where}: done, but not noted");
            },
            catalog => id = catalog.Get("a").Id);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_delete_stopped_anywhere_leaves_all_or_nothing(bool isCrash) => TryEveryStep(
        isCrash,
        true,
        catalog => catalog.Delete("a"),
        (catalog, succeeded, where) =>
        {
            string? state = State(catalog);
            Assert.True(succeeded ? state is null : state is null or "old", $"{where}: found {state ?? "nothing"}");
        });

    // After a crash nothing more reaches the disk and the folder is opened anew; after an error the same catalog goes on.
    private void TryEveryStep(
        bool isCrash,
        bool hasOld,
        Action<AdapterCatalog> operation,
        Action<AdapterCatalog, bool, string> check,
        Action<AdapterCatalog>? prepare = null)
    {
        int steps = 0;
        for (int failAt = 0; ; failAt++)
        {
            using TemporaryFolder root = new();
            FailingFiles files = new();
            AdapterCatalogOptions options = new() { Root = root.Path, KeepVersions = 2 };
            bool succeeded = false;
            bool neverReached;
            using (AdapterCatalog catalog = new(options, TinyModel.Shape, null, files))
            {
                Upload(catalog, "other", s_old);
                if (hasOld)
                {
                    Upload(catalog, s_old);
                }

                prepare?.Invoke(catalog);
                int before = files.Steps;
                files.FailAt = before + failAt;
                files.StaysDown = isCrash;
                try
                {
                    operation(catalog);
                    succeeded = true;
                }
                catch (AdapterStorageException error)
                {
                    Assert.Contains("no space left", error.Message, StringComparison.Ordinal);
                }

                steps = files.Steps - before;
                neverReached = files.Failed is null;
                if (!isCrash)
                {
                    check(catalog, succeeded, $"error at step {failAt} ({files.Failed})");

                    // The disk works again: so does the catalog.
                    files.FailAt = -1;
                    Upload(catalog, s_new);
                    Assert.Equal("new", State(catalog));
                }
            }

            using AdapterCatalog again = new(options, TinyModel.Shape);
            if (isCrash)
            {
                check(again, succeeded, $"crash at step {failAt} ({files.Failed})");
                Upload(again, s_new);
            }

            Assert.Equal("new", State(again));
            Assert.Equal(TinyModelDigest(again, "other"), again.Get("other").Digest);
            Assert.Empty(Directory.GetFileSystemEntries(root["staging"]));
            if (neverReached)
            {
                break;
            }
        }

        _output.WriteLine($"{steps} steps");
        Assert.True(steps > 2);
    }

    private static string TinyModelDigest(AdapterCatalog catalog, string name) => Assert.Single(catalog.Versions(name)).Digest;

    // Which contents are current, fully readable; null when there is no such name.
    private static string? State(AdapterCatalog catalog)
    {
        if (!catalog.TryGet("a", out AdapterRecord? record))
        {
            return null;
        }

        _ = catalog.Load(record.Id, CancellationToken.None);
        return record.Manifest.UsesDora ? "new" : "old";
    }

    private static void Upload(AdapterCatalog catalog, (byte[] Config, byte[] Weights) adapter) => Upload(catalog, "a", adapter);

    private static void Upload(AdapterCatalog catalog, string name, (byte[] Config, byte[] Weights) adapter)
    {
        using AdapterUpload upload = catalog.BeginUpload(name);
        upload.Write(AdapterFilePart.Config, adapter.Config);
        upload.Write(AdapterFilePart.Weights, adapter.Weights);
        upload.Commit();
    }
}
