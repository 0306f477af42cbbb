using InferenceServer.Benchmarks.Gpu.Models;

namespace InferenceServer.Benchmarks.Gpu;

/// <summary>What the GPU benchmark runs.</summary>
internal sealed record GpuOptions
{
    public const string Usage =
        "[--out FOLDER] [--stages NAME,...] [--budget STAGE=SECONDS,...] [--shapes NAME,...] [--tenants SHAPE] [--adapters N] [--rounds N] "
        + "[--device cuda|cpu] [--python PROGRAM] [--work FOLDER] [--cuda-libraries FOLDERS] [--report]";

    // Shared memory holds a model's files at the speed of memory, where it holds the largest stage's: a thousand adapters and their model.
    private const string SharedMemory = "/dev/shm";
    private const long NeededBytes = 32L << 30;

    // Below whatever folder is named: it is deleted at the end, and nothing else may be in it.
    private const string OwnFolder = "inferenceserver-gpu";

    /// <summary>results.jsonl, to which every run adds, and what is made of it; one log a stage.</summary>
    public required string Output { get; init; }

    public required IReadOnlyList<GpuStage> Stages { get; init; }

    /// <summary>Seconds of each stage, by its name, where they are not the stage's own.</summary>
    public required IReadOnlyDictionary<string, int> Budgets { get; init; }

    /// <summary>Shapes whose speed is measured.</summary>
    public required IReadOnlyList<ModelDimensions> Shapes { get; init; }

    /// <summary>The shape that tenants, training and the peer share.</summary>
    public required ModelDimensions TenantShape { get; init; }

    /// <summary>The many adapters that are compared with five.</summary>
    public required int Adapters { get; init; }

    /// <summary>Rounds of each comparison; fewer where the budget ends before.</summary>
    public required int Rounds { get; init; }

    /// <summary>cuda, or cpu to try the benchmark itself.</summary>
    public required string Device { get; init; }

    /// <summary>The interpreter that has PyTorch.</summary>
    public required string Python { get; init; }

    /// <summary>Where models and adapters are made; a folder of the benchmark's own, removed at the end.</summary>
    public required string Work { get; init; }

    /// <summary>Folders with CUDA's libraries that are searched first; empty for CUDA_LIBRARY_PATH.</summary>
    public required string CudaLibraries { get; init; }

    /// <summary>Only writes the report anew from results.jsonl.</summary>
    public required bool ReportOnly { get; init; }

    public bool IsCuda => Device == "cuda";

    /// <exception cref="ArgumentException">An option is wrong.</exception>
    public static GpuOptions Parse(string[] arguments)
    {
        string[] stages = [.. GpuStage.All.Select(stage => stage.Name)];
        string[] shapes = [.. ModelDimensions.All.Select(shape => shape.Name)];
        string[] tenants = CommandLine.Choices(arguments, "--tenants", "llama-3.2-1b", shapes);
        return new GpuOptions
        {
            Output = Path.GetFullPath(CommandLine.Option(arguments, "--out") ?? Path.Combine("artifacts", "gpu")),
            Stages = [.. CommandLine.Choices(arguments, "--stages", string.Join(',', stages), stages).Select(GpuStage.Named)],
            Budgets = ParseBudgets(CommandLine.Option(arguments, "--budget") ?? "", stages),
            Shapes = [.. CommandLine.Choices(arguments, "--shapes", "qwen2.5-0.5b,llama-3.2-1b,llama-3-8b", shapes).Select(ModelDimensions.Named)],
            TenantShape = tenants is [string tenant] ? ModelDimensions.Named(tenant) : throw new ArgumentException("--tenants takes one shape"),
            Adapters = CommandLine.Number(arguments, "--adapters", 1000, least: 6),
            Rounds = CommandLine.Number(arguments, "--rounds", 5),
            Device = CommandLine.Choices(arguments, "--device", "cuda", ["cuda", "cpu"])[0],
            Python = CommandLine.Option(arguments, "--python") ?? "python3",
            Work = Path.GetFullPath(Path.Combine(CommandLine.Option(arguments, "--work") ?? WorkByDefault(), OwnFolder)),
            CudaLibraries = CommandLine.Option(arguments, "--cuda-libraries") ?? "",
            ReportOnly = arguments.Contains("--report"),
        };
    }

    /// <summary>Where a stage makes its files.</summary>
    public string FolderOf(GpuStage stage) => Path.Combine(Work, stage.Name);

    public TimeSpan BudgetOf(GpuStage stage) => TimeSpan.FromSeconds(Budgets.GetValueOrDefault(stage.Name, stage.Seconds));

    private static string WorkByDefault() =>
        Directory.Exists(SharedMemory) && new DriveInfo(SharedMemory).AvailableFreeSpace >= NeededBytes ? SharedMemory : Path.GetTempPath();

    private static Dictionary<string, int> ParseBudgets(string text, string[] stages)
    {
        Dictionary<string, int> budgets = new(StringComparer.Ordinal);
        foreach (string part in text.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] pair = part.Split('=');
            if (pair.Length != 2 || !stages.Contains(pair[0]))
            {
                throw new ArgumentException($"--budget '{part}' is not STAGE=SECONDS with a stage of {string.Join(", ", stages)}");
            }

            budgets[pair[0]] = CommandLine.Number($"--budget {pair[0]}", pair[1], least: 1);
        }

        return budgets;
    }
}
