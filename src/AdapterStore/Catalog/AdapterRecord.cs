using System.Text.Json.Serialization;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>One stored version of an adapter.</summary>
public sealed record AdapterRecord
{
    public required string Name { get; init; }

    public required string Digest { get; init; }

    /// <summary>When it was committed.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    public required AdapterManifest Manifest { get; init; }

    /// <summary>adapter_config.json.</summary>
    public required StoredFile Config { get; init; }

    /// <summary>adapter_model.safetensors.</summary>
    public required StoredFile Weights { get; init; }

    /// <summary>SHA-256 of the weights' safetensors header, for a cheap check at each load.</summary>
    public required string HeaderSha256 { get; init; }

    /// <summary>Values computed from the base at import (DoRA's output scales); null when there are none.</summary>
    public StoredFile? Derived { get; init; }

    /// <summary>Name of the base it was validated against.</summary>
    public required string BaseModel { get; init; }

    /// <summary>Fingerprint of that base's modules and some of its weights.</summary>
    public required string BaseFingerprint { get; init; }

    /// <summary>Bytes of its files on disk.</summary>
    [JsonIgnore]
    public long DiskBytes => Config.Bytes + Weights.Bytes + (Derived?.Bytes ?? 0);

    [JsonIgnore]
    public AdapterId Id => new(Name, Digest);
}
