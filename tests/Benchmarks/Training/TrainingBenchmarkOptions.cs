namespace InferenceServer.Benchmarks.Training;

/// <summary>What the training benchmark runs.</summary>
internal sealed record TrainingBenchmarkOptions
{
    public const string Usage =
        "[--shapes 5m,110m] [--methods lora,dora,full] [--tokens 512,2048] [--rounds N] [--threads N] [--checkpointing] "
        + "[--peers installed,blas,bf16] [--blas FOLDER] [--python FILE] [--out FILE]";

    private static readonly string[] s_shapes = ["5m", "110m"];
    private static readonly string[] s_methods = ["lora", "dora", "full"];
    private static readonly string[] s_peers = ["installed", "blas", "bf16"];

    public required IReadOnlyList<TrainingCase> Cases { get; init; }

    public required int Rounds { get; init; }

    public required int Threads { get; init; }

    /// <summary>
    /// The torches to run: installed (f32 as it is), blas (f32 with the BLAS of <see cref="BlasFolder"/>), bf16 (autocast, with that BLAS).
    /// </summary>
    public required IReadOnlyList<string> Peers { get; init; }

    /// <summary>Folder of another libblas.so.3 for torch; null for the system's.</summary>
    public string? BlasFolder { get; init; }

    /// <summary>A Python that has torch.</summary>
    public required string Python { get; init; }

    /// <summary>Whether our side trains with gradient checkpointing too, as a row of its own.</summary>
    public required bool Checkpointing { get; init; }

    /// <summary>File that takes the report too; null for none.</summary>
    public string? Output { get; init; }

    /// <exception cref="ArgumentException">An option is wrong.</exception>
    public static TrainingBenchmarkOptions Parse(string[] arguments)
    {
        string[] shapes = CommandLine.Choices(arguments, "--shapes", "5m,110m", s_shapes);
        string[] methods = CommandLine.Choices(arguments, "--methods", "lora", s_methods);
        int[] tokens = [.. (CommandLine.Option(arguments, "--tokens") ?? "512,2048").Split(',').Select(text => Tokens(text))];
        string? blas = CommandLine.Option(arguments, "--blas");
        string[] peers = CommandLine.Choices(arguments, "--peers", blas is null ? "installed" : "blas", s_peers);
        if (blas is null && peers.Contains("blas"))
        {
            throw new ArgumentException("--peers blas needs --blas FOLDER, where libblas.so.3 is");
        }

        return new TrainingBenchmarkOptions
        {
            Cases = [.. shapes.SelectMany(shape => methods.SelectMany(method => tokens.Select(count => new TrainingCase(shape, method, count))))],
            Rounds = CommandLine.Number(arguments, "--rounds", 10),
            Threads = CommandLine.Number(arguments, "--threads", Environment.ProcessorCount),
            Peers = peers,
            BlasFolder = blas,
            Python = CommandLine.Option(arguments, "--python") ?? "/usr/bin/python3",
            Checkpointing = arguments.Contains("--checkpointing"),
            Output = CommandLine.Option(arguments, "--out"),
        };
    }

    private static int Tokens(string text) =>
        int.TryParse(text, out int count) && count > 0 && count % TrainingCase.SequenceLength == 0
            ? count
            : throw new ArgumentException($"--tokens '{text}' is no multiple of {TrainingCase.SequenceLength}");
}
