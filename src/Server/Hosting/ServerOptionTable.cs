namespace InferenceServer.Server.Hosting;

/// <summary>Every option of the command line and the environment, in the order in which --help prints them.</summary>
internal static class ServerOptionTable
{
    public static IReadOnlyList<ServerOption> All { get; } =
    [
        new("model", "Server:Model", "FOLDER", "Base model in Hugging Face's layout (default: an embedded placeholder that talks gibberish)."),
        new("model-name", "Server:ModelName", "NAME", "The model's name for clients (default: the folder's name)."),
        new("data", "Server:Data", "FOLDER", "Where adapters are kept (default: data)."),
        new("grpc", "Server:GrpcUrl", "URL", "gRPC address; https:// takes Kestrel's configured certificate (default: http://127.0.0.1:5100)."),
        new("http", "Server:HttpUrl", "URL|none", "Address of /metrics and /health (default: http://127.0.0.1:5101)."),
        new("device", "Server:Device", "auto|cpu", "What computes (default: auto).", ServerOptionKind.Choice),
        new("weights", "Server:Weights", "bf16|f32", "How the base's weights are kept (default: bf16).", ServerOptionKind.Choice),
        new("threads", "Cpu:ThreadCount", "N", "Threads that compute; 0 for one a core (default: 0).", ServerOptionKind.Count),
        new("max-length", "Server:MaxModelLength", "TOKENS", "Longest sequence; 0 for the model's own limit, at most 32768 (default: 0).", ServerOptionKind.Count),
        new("max-running", "Scheduler:MaxRunningSequences", "N", "Most sequences that run at once (default: 64).", ServerOptionKind.Count),
        new("max-queue", "Scheduler:MaxWaiting", "N", "Most requests that wait before new ones are refused (default: 1024).", ServerOptionKind.Count),
        new("max-batch-tokens", "Scheduler:MaxBatchTokens", "N", "Most tokens of one step (default: 512).", ServerOptionKind.Count),
        new("kv-memory", "Engine:KvCacheBytes", "SIZE", "Memory for keys and values (default: 512MiB, or what all running sequences can use).", ServerOptionKind.Size),
        new("adapter-host-memory", "AdapterCache:HostBudgetBytes", "SIZE", "Host memory for parsed adapters (default: 4GiB).", ServerOptionKind.Size),
        new("adapter-device-memory", "AdapterCache:DeviceBudgetBytes", "SIZE", "Device memory for resident adapters (default: 1GiB).", ServerOptionKind.Size),
        new("max-adapter-rank", "AdapterCatalog:Limits:MaxRank", "N", "Largest rank of an adapter (default: 512).", ServerOptionKind.Count),
        new("max-adapter-size", "AdapterCatalog:Limits:MaxBytes", "SIZE", "Largest adapter_model.safetensors (default: 4GiB).", ServerOptionKind.Size),
        new("keep-versions", "AdapterCatalog:KeepVersions", "N", "Versions kept of each adapter, for roll-back (default: 3).", ServerOptionKind.Count),
        new("merge-weights", "Merge:Format", "f32|bf16", "How merged weights are kept: f32 moves nobody's logits, bf16 reads as fast as the base (default: f32).", ServerOptionKind.Choice),
        new("merge-automatic", "Merge:Automatic", "true|false", "Whether a dominant tenant's adapter is merged by itself (default: false).", ServerOptionKind.Choice),
        new("max-uploads", "Server:MaxUploads", "N", "Most uploads at once (default: 4).", ServerOptionKind.Count),
        new("upload-idle", "Server:UploadIdleSeconds", "SECONDS", "Longest pause within an upload before it is given up (default: 60).", ServerOptionKind.Count),
        new("max-message", "Server:MaxMessageBytes", "SIZE", "Largest gRPC message taken from a client (default: 8MiB).", ServerOptionKind.Size),
        new("drain", "Server:DrainSeconds", "SECONDS", "How long running calls may go on after the server was told to stop (default: 20).", ServerOptionKind.Count),
        new("log-level", "Logging:LogLevel:Default", "LEVEL", "Least important messages that are logged: trace, debug, information, warning, error, none (default: information)."),
    ];
}
