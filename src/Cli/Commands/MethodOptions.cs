using System.CommandLine;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary>What is trained: a method by name with its size, or an adapter_config.json.</summary>
internal sealed class MethodOptions
{
    private readonly Option<string?> _method = RunOptions.OneOf(
        "--method",
        $"One of {string.Join(", ", TrainingMethods.All.Select(method => method.Name))}; default lora.",
        [.. TrainingMethods.All.Select(method => method.Name)]);

    private readonly Option<FileInfo?> _config =
        new("--config") { Description = "An adapter_config.json with PEFT's names, in place of --method." };

    private readonly Option<int?> _rank = new("--rank") { Description = "Rank; default 8, of vera 256." };
    private readonly Option<double?> _alpha = new("--alpha") { Description = "Numerator of the scale; default twice the rank." };
    private readonly Option<double?> _dropout = new("--dropout") { Description = "Share of the adapter's input dropped; default 0." };
    private readonly Option<string?> _targets =
        new("--targets") { Description = "Module names with commas between, a regular expression, or all-linear (default)." };

    private readonly Option<string?> _over =
        new("--over") { Description = "router: names of the server's adapters that it weighs, with commas between." };

    private readonly Option<int?> _topK = new("--top-k") { Description = "router: how many of them take part in a token; default all." };

    private readonly Option<string?> _baseWeights = RunOptions.OneOf(
        "--base-weights", "How the base is kept for this job; default as it is served.", "f32", "bf16", "int8", "nf4");

    private readonly Option<double?> _rate = new("--lr") { Description = "Largest learning rate; default 2e-4 times the method's factor." };
    private readonly Option<double?> _ratio = new("--lora-plus-ratio") { Description = "lora-plus: rate of B over that of A; default 16." };

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_method, _config, _rank, _alpha, _dropout, _targets, _over, _topK, _baseWeights, _rate, _ratio])
        {
            command.Add(option);
        }
    }

    /// <summary>Writes the method into a spec that has its number of steps already.</summary>
    /// <exception cref="UsageException">The options do not go together.</exception>
    public void WriteTo(TrainingSpec spec, ParseResult parsed)
    {
        spec.Optimizer ??= new OptimizerSettings();
        spec.Optimizer.LearningRate = parsed.GetValue(_rate) ?? spec.Optimizer.LearningRate;
        spec.Optimizer.LoraPlusRatio = parsed.GetValue(_ratio) ?? spec.Optimizer.LoraPlusRatio;
        spec.BaseWeights = parsed.GetValue(_baseWeights) ?? spec.BaseWeights;
        AdapterSettings settings = new()
        {
            Rank = parsed.GetValue(_rank) ?? 0,
            Alpha = parsed.GetValue(_alpha) ?? 0,
            Dropout = parsed.GetValue(_dropout) ?? 0,
            Targets = parsed.GetValue(_targets) is { } targets ? AdapterSettings.ParseTargets(targets) : [],
            Over = parsed.GetValue(_over)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [],
            TopK = parsed.GetValue(_topK) ?? 0,
        };
        string? name = parsed.GetValue(_method);
        if (parsed.GetValue(_config) is { } file)
        {
            Require(name is null, "--config and --method both say what to train; give one of them");
            Require(IsDefault(settings), "--rank, --alpha, --dropout, --targets, --over and --top-k are fields of --config's file");
            spec.AdapterConfig = File.ReadAllText(file.FullName);
            return;
        }

        if (name is null && spec.AdapterConfig.Length > 0)
        {
            Require(IsDefault(settings), "--rank, --alpha, --dropout, --targets, --over and --top-k are in the spec's adapter_config");
            return;
        }

        TrainingMethods.TryGet(name ?? "lora", out TrainingMethod? method);
        try
        {
            method!.ApplyTo(spec, settings);
        }
        catch (ArgumentException error)
        {
            throw new UsageException(error.Message);
        }
    }

    private static bool IsDefault(AdapterSettings settings) =>
        settings.Rank == 0 && settings.Alpha == 0 && settings.Dropout == 0 && settings.Targets.Count == 0
        && settings.Over.Count == 0 && settings.TopK == 0;

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new UsageException(message);
        }
    }
}
