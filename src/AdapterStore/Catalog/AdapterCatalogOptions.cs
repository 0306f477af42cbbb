using System.ComponentModel.DataAnnotations;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>Where adapters are kept, and how many versions.</summary>
public sealed class AdapterCatalogOptions
{
    /// <summary>Name of the configuration section.</summary>
    public const string SectionName = "AdapterCatalog";

    /// <summary>Folder of the catalog; created when it is absent. One server at a time may use it.</summary>
    [Required]
    public string Root { get; set; } = "data";

    /// <summary>Versions kept of each name, the current one included, for roll-back. Default 3.</summary>
    [Range(1, 1000)]
    public int KeepVersions { get; set; } = 3;

    /// <summary>When the contents of what is stored are checked against their digests. Default <see cref="ContentCheck.Beside"/>.</summary>
    public ContentCheck VerifyContents { get; set; } = ContentCheck.Beside;

    /// <summary>What an adapter may cost.</summary>
    public AdapterLimits Limits { get; set; } = new();
}
