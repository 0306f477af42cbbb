using System.Text.Json;
using InferenceServer.AdapterStore.Catalog;

namespace InferenceServer.Training.Jobs;

/// <summary>
/// The adapters that a job trains a router over. Their versions are written down when the job first runs, so that one that goes on later
/// meets the same, whatever was uploaded under their names meanwhile.
/// </summary>
public static class RouterSources
{
    private const string FileName = "router_sources.json";

    /// <summary>Checks that the catalog has every adapter that a recipe routes over.</summary>
    /// <exception cref="TrainingSpecException">One is missing.</exception>
    public static void Check(AdapterRecipe? recipe, AdapterCatalog catalog)
    {
        ArgumentNullException.ThrowIfNull(catalog);
        foreach (string name in recipe?.RoutedAdapters ?? [])
        {
            Find(name, catalog);
        }
    }

    internal static AdapterRecipe Load(AdapterRecipe recipe, StoredJob job, AdapterCatalog catalog, StoreFiles files)
    {
        string path = Path.Combine(job.Folder, FileName);
        string[] versions;
        if (File.Exists(path))
        {
            versions = JsonSerializer.Deserialize<string[]>(File.ReadAllBytes(path)) ?? [];
        }
        else
        {
            versions = [.. recipe.RoutedAdapters.Select(name => Find(name, catalog).Id.ToString())];
            string aside = path + ".writing";
            files.DeleteTree(aside);
            files.WriteFile(aside, JsonSerializer.SerializeToUtf8Bytes(versions));
            files.ReplaceFile(aside, path);
            files.SyncDirectory(job.Folder);
        }

        return recipe.WithSources(versions.Select(version => Find(version, catalog)).ToDictionary(
            record => record.Name, record => catalog.Load(record.Id, CancellationToken.None)));
    }

    private static AdapterRecord Find(string nameOrId, AdapterCatalog catalog) => catalog.TryGet(nameOrId, out AdapterRecord? record)
        ? record
        : throw new TrainingSpecException("adapter_config", $"router_config.adapters names '{nameOrId}', which this server does not have");
}
