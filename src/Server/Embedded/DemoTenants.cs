using System.Security.Cryptography;
using System.Text.Json;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;

namespace InferenceServer.Server.Embedded;

/// <summary>
/// Gives the demo's tenants to a catalog, through the door of uploads. Each version of a tenant is given to a data folder once, which a
/// file beside the catalog remembers: what the operator deletes or replaces stays so at the next start. A name that the operator has used
/// for an adapter of their own is left alone.
/// </summary>
internal sealed class DemoTenants(AdapterCatalog catalog, string dataFolder, ILogger log)
{
    private const string MemoryName = "demo-tenants.json";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    private string MemoryFile => Path.Combine(dataFolder, MemoryName);

    /// <summary>Adds those that the data folder has not been given yet. One that cannot be added is told and left out.</summary>
    public void Add()
    {
        SortedDictionary<string, string> given = Remember();
        foreach (string folder in DemoModel.AdapterFolders())
        {
            string name = Path.GetFileName(folder);
            string contents = Hash(folder);
            bool isOurs = given.TryGetValue(name, out string? before);
            if (before == contents || (!isOurs && catalog.Versions(name).Count > 0))
            {
                continue;
            }

            try
            {
                catalog.ImportFolder(name, folder);
                given[name] = contents;
                Keep(given);
                EmbeddedLog.TenantAdded(log, name);
            }
            catch (Exception error) when (error is AdapterStorageException or IOException or UnauthorizedAccessException)
            {
                EmbeddedLog.TenantNotAdded(log, name, error.Message);
            }
        }
    }

    private SortedDictionary<string, string> Remember()
    {
        try
        {
            return File.Exists(MemoryFile)
                ? new(JsonSerializer.Deserialize<Dictionary<string, string>>(File.ReadAllText(MemoryFile)) ?? [], StringComparer.Ordinal)
                : new(StringComparer.Ordinal);
        }
        catch (JsonException error)
        {
            // Cut off by a crash at worst: the tenants of taken names are then left alone, deleted ones come back.
            EmbeddedLog.MemoryUnreadable(log, MemoryFile, error.Message);
            return new(StringComparer.Ordinal);
        }
    }

    private void Keep(SortedDictionary<string, string> given)
    {
        string aside = MemoryFile + ".new";
        File.WriteAllText(aside, JsonSerializer.Serialize(given, s_indented) + "\n");
        File.Move(aside, MemoryFile, overwrite: true);
    }

    private static string Hash(string folder)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(File.ReadAllBytes(Path.Combine(folder, PeftImporter.ConfigFileName)));
        hash.AppendData(File.ReadAllBytes(Path.Combine(folder, PeftImporter.WeightsFileName)));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
