namespace InferenceServer.Benchmarks.Peers;

/// <summary>What the sides are measured in, under the names that options and results use.</summary>
internal static class PeerWork
{
    public const string Decode1 = "decode-1";

    public const string Decode16 = "decode-16";

    public const string Prefill = "prefill-512";

    /// <summary>16 requests, no adapter.</summary>
    public const string TenantsBase = "tenants-base";

    /// <summary>16 requests, one adapter for all.</summary>
    public const string TenantsIdentical = "tenants-identical";

    /// <summary>16 requests, each with an adapter of its own.</summary>
    public const string TenantsDistinct = "tenants-distinct";

    public static IReadOnlyList<string> Streams { get; } = [Decode1, Decode16, Prefill];

    public static IReadOnlyList<string> Tenants { get; } = [TenantsBase, TenantsIdentical, TenantsDistinct];

    /// <summary>The peer's format for each of ours.</summary>
    public static IReadOnlyDictionary<string, string> PeerFormats { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["bf16"] = "BF16",
        ["int8"] = "Q8_0",
        ["nf4"] = "Q4_0",
    };

    /// <summary>Times llama.cpp's speed that issue 4 asks for; null where it asks for nothing.</summary>
    public static double? Bar(string work, string weights) => (work, weights) switch
    {
        (Decode1, "bf16") => 1.5,
        (Decode1, "int8") => 1.1,
        (Decode1, "nf4") => 1.3,
        (Decode16, "bf16") => 3.5,
        (Decode16, _) => 1.5,
        (Prefill, "bf16") => 8,
        (Prefill, _) => 2.5,
        (TenantsDistinct, "bf16") => 15,
        (TenantsDistinct, "int8") => 10,
        _ => null,
    };
}
