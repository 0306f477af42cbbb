using System.ComponentModel.DataAnnotations;
using InferenceServer.Server.Devices;
using InferenceServer.Tensors;

namespace InferenceServer.Server.Hosting;

/// <summary>Where the server listens, what it serves and where it keeps it. The subsystems have options of their own.</summary>
public sealed class ServerOptions : IValidatableObject
{
    public const string SectionName = "Server";

    /// <summary>Value of <see cref="HttpUrl"/> that opens no HTTP port.</summary>
    public const string None = "none";

    /// <summary>Folder of the base model in Hugging Face's layout; empty (the default) for the demo beside the program.</summary>
    public string Model { get; set; } = "";

    /// <summary>The model's name for clients; empty (the default) for the folder's name.</summary>
    public string ModelName { get; set; } = "";

    /// <summary>Folder that holds the adapters; made when it is not there. Default data, below the working folder.</summary>
    [Required]
    public string Data { get; set; } = "data";

    /// <summary>
    /// Where gRPC is served: http:// for HTTP/2 without TLS, https:// with Kestrel's configured certificate. Default loopback only.
    /// </summary>
    [Required]
    public string GrpcUrl { get; set; } = "http://127.0.0.1:5100";

    /// <summary>
    /// Where /metrics and /health are served over HTTP/1.1; none for nowhere. A port of its own, so that tenants do not see it.
    /// </summary>
    [Required]
    public string HttpUrl { get; set; } = "http://127.0.0.1:5101";

    /// <summary>auto (the default) takes CUDA where it can be used, and the CPU else.</summary>
    public ComputeDevice Device { get; set; } = ComputeDevice.Auto;

    /// <summary>
    /// How the base's weights are kept. Default BF16: half the memory traffic of F32, as most checkpoints are stored. Int8 and NF4 quantise
    /// the linear layers at load; embeddings and adapters are BF16 then.
    /// </summary>
    public WeightFormat Weights { get; set; } = WeightFormat.BF16;

    /// <summary>
    /// How the output head is kept, and with it the embeddings where they are its own matrix. Null (the default) for Int8 beside quantised
    /// layers, and for the layers' format else.
    /// </summary>
    public WeightFormat? HeadWeights { get; set; }

    /// <summary>How keys and values are kept, F32 or BF16; null (the default) for what the device does: F32 on the CPU, BF16 on CUDA.</summary>
    public WeightFormat? KvFormat { get; set; }

    /// <summary>Longest sequence in tokens; 0 (the default) for the model's own limit, at most 32768.</summary>
    [Range(0, 1 << 24)]
    public int MaxModelLength { get; set; }

    /// <summary>
    /// Seconds that running calls may go on after the server was told to stop. Default 20: below the 30 s that containers grant.
    /// </summary>
    [Range(0, 3600)]
    public int DrainSeconds { get; set; } = 20;

    /// <summary>Most uploads at once; each may hold an adapter's bytes on disk. Default 4.</summary>
    [Range(1, 1024)]
    public int MaxUploads { get; set; } = 4;

    /// <summary>Seconds without a message after which an upload is given up. Default 60.</summary>
    [Range(1, 3600)]
    public int UploadIdleSeconds { get; set; } = 60;

    /// <summary>Largest gRPC message taken from a client, in bytes. Default 8 MiB: a prompt of a million tokens fits.</summary>
    [Range(64 * 1024, 1 << 30)]
    public int MaxMessageBytes { get; set; } = 8 * 1024 * 1024;

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (!IsUrl(GrpcUrl))
        {
            yield return new ValidationResult($"--grpc '{GrpcUrl}' is not an address such as http://127.0.0.1:5100", [nameof(GrpcUrl)]);
        }

        if (HttpUrl != None && !IsUrl(HttpUrl))
        {
            yield return new ValidationResult(
                $"--http '{HttpUrl}' is neither an address such as http://127.0.0.1:5101 nor {None}", [nameof(HttpUrl)]);
        }

        if (KvFormat is { } format && format is not (WeightFormat.F32 or WeightFormat.BF16))
        {
            yield return new ValidationResult($"--kv-format {format} is neither f32 nor bf16", [nameof(KvFormat)]);
        }

        if (Model.Length > 0 && !Directory.Exists(Model))
        {
            yield return new ValidationResult($"--model '{Model}' is not a folder", [nameof(Model)]);
        }
    }

    private static bool IsUrl(string text)
    {
        return Uri.TryCreate(text, UriKind.Absolute, out Uri? url) && (url.Scheme == Uri.UriSchemeHttp || url.Scheme == Uri.UriSchemeHttps)
            && url.PathAndQuery == "/"
            && (url.HostNameType is UriHostNameType.IPv4 or UriHostNameType.IPv6 || url.Host is "localhost" or "*" or "+");
    }
}
