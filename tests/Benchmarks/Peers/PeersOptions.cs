namespace InferenceServer.Benchmarks.Peers;

/// <summary>What the comparison with llama.cpp runs.</summary>
internal sealed record PeersOptions
{
    public const string Usage =
        "[--setup] [--work FOLDER] [--out FOLDER] [--shapes llama-110m,tinyllama-1.1b,qwen-0.5b] [--weights bf16,int8,nf4] "
        + "[--what decode-1,decode-16,prefill-512,tenants-base,tenants-identical,tenants-distinct] [--rounds N] [--seconds N] [--tokens N] [--rank R] "
        + "[--threads N] [--server \"OPTIONS\"] [--label TEXT] [--report]";

    private static readonly string[] s_shapes = ["llama-110m", "qwen-0.5b", "tinyllama-1.1b", "tiny-test"];

    /// <summary>Whether llama.cpp is installed and what both sides load is written first.</summary>
    public required bool Setup { get; init; }

    /// <summary>Only writes the table and the plot again from the slices in <see cref="Output"/>.</summary>
    public required bool ReportOnly { get; init; }

    /// <summary>Where llama.cpp and the models are.</summary>
    public required string Work { get; init; }

    /// <summary>Folder of the results; a further run adds to it.</summary>
    public required string Output { get; init; }

    public required IReadOnlyList<string> Shapes { get; init; }

    public required IReadOnlyList<string> Weights { get; init; }

    public required IReadOnlyList<string> What { get; init; }

    /// <summary>Slices of each side that count; a run gives up after three times as many.</summary>
    public required int Rounds { get; init; }

    /// <summary>No round begins after this time, of one shape and format; with --seconds 0, the default, only rounds count.</summary>
    public required TimeSpan Limit { get; init; }

    /// <summary>Tokens that each sequence decodes; 0 for fewer the larger the model is.</summary>
    public required int Tokens { get; init; }

    /// <summary>Rank of the tenants' adapters.</summary>
    public required int Rank { get; init; }

    public required int Threads { get; init; }

    /// <summary>Further options of our server.</summary>
    public required IReadOnlyList<string> Server { get; init; }

    /// <summary>Said of our side in the results, as the kernels forced; empty for nothing.</summary>
    public required string Label { get; init; }

    /// <exception cref="ArgumentException">An option is wrong.</exception>
    public static PeersOptions Parse(string[] arguments) => new()
    {
        Setup = arguments.Contains("--setup"),
        ReportOnly = arguments.Contains("--report"),
        Work = Path.GetFullPath(CommandLine.Option(arguments, "--work") ?? Path.Combine(Path.GetTempPath(), "inferenceserver-peers")),
        Output = Path.GetFullPath(CommandLine.Option(arguments, "--out") ?? Path.Combine("artifacts", "peers")),
        Shapes = CommandLine.Choices(arguments, "--shapes", "llama-110m,tinyllama-1.1b,qwen-0.5b", s_shapes),
        Weights = CommandLine.Choices(arguments, "--weights", "bf16,int8,nf4", [.. PeerWork.PeerFormats.Keys]),
        What = CommandLine.Choices(arguments, "--what", string.Join(',', PeerWork.Streams), [.. PeerWork.Streams, .. PeerWork.Tenants]),
        Rounds = CommandLine.Number(arguments, "--rounds", 7),
        Limit = CommandLine.Number(arguments, "--seconds", 0, least: 0) is int seconds and > 0 ? TimeSpan.FromSeconds(seconds) : TimeSpan.MaxValue,
        Tokens = CommandLine.Number(arguments, "--tokens", 0, least: 0),
        Rank = CommandLine.Number(arguments, "--rank", 16),
        Threads = CommandLine.Number(arguments, "--threads", Environment.ProcessorCount),
        Server = (CommandLine.Option(arguments, "--server") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries),
        Label = CommandLine.Option(arguments, "--label") ?? "",
    };

    public string HfFolder(string shape) => Path.Combine(Work, "models", $"{shape}-hf");

    public string Gguf(string shape, string weights) => Path.Combine(Work, "models", $"{shape}-{PeerWork.PeerFormats[weights]}.gguf");

    /// <summary>A tenant's adapter in PEFT's form; with .gguf after it in the peer's.</summary>
    public string Adapter(string shape, int number) => Path.Combine(Work, "adapters", $"{shape}-r{Rank}-{number}");

    /// <summary>Tokens to decode: about a second of the peer's work in a slice.</summary>
    public int TokensFor(string shape) => Tokens > 0 ? Tokens : shape switch
    {
        "tinyllama-1.1b" => 16,
        "qwen-0.5b" => 32,
        _ => 64,
    };
}
