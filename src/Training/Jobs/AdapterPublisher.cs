using System.Security.Cryptography;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;

namespace InferenceServer.Training.Jobs;

/// <summary>
/// Brings a finished adapter through the door of uploads into the catalog, once: what is about to be published is written down first, so
/// that after a crash the catalog tells whether it was. A version that somebody has made current meanwhile is left so.
/// </summary>
public sealed class AdapterPublisher(AdapterCatalog catalog)
{
    /// <summary>Publishes the adapter of a job whose run is finished.</summary>
    /// <exception cref="AdapterFormatException">The catalog does not accept it (a rank above its limit).</exception>
    /// <exception cref="AdapterStorageException">The disk is full or fails; nothing was changed.</exception>
    /// <exception cref="IOException">The intent cannot be written; nothing was changed.</exception>
    public AdapterRecord Publish(StoredJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        string folder = job.AdapterFolder ?? throw new InvalidOperationException($"job {job.Id} has no finished adapter");
        string id = new AdapterId(job.Spec.Adapter, Digest(folder)).ToString();
        if (job.Current.Publishing is not { } intent || intent.Adapter != id)
        {
            intent = new PublishIntent(id, catalog.TryGet(id, out _));
            job.Change(now => now with { Publishing = intent });
        }
        else if (!intent.WasThere && catalog.TryGet(id, out AdapterRecord? published))
        {
            return published;
        }

        UploadMode mode = job.Spec.Publish.Mode == PublishMode.Staged ? UploadMode.StageOnly : UploadMode.None;
        return catalog.ImportFolder(job.Spec.Adapter, folder, mode);
    }

    private static string Digest(string folder)
    {
        (long configLength, byte[] config) = Hash(Path.Combine(folder, PeftImporter.ConfigFileName));
        (long weightsLength, byte[] weights) = Hash(Path.Combine(folder, PeftImporter.WeightsFileName));
        return AdapterDigest.Combine(configLength, config, weightsLength, weights);
    }

    private static (long Length, byte[] Hash) Hash(string path)
    {
        using FileStream file = File.OpenRead(path);
        return (file.Length, SHA256.HashData(file));
    }
}
