using System.Diagnostics;
using System.Globalization;
using System.Text;
using InferenceServer.Cpu;
using InferenceServer.Engine.Sampling;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.Benchmarks.Step;

/// <summary>
/// Where the time of a step goes, operation by operation, in turn: a decoding step of sequences at one context without adapters, with one for all and
/// with one for each, or a prompt without and with an adapter. Random weights; the shape's width with fewer layers where the whole would not fit a short run.
/// </summary>
internal static class StepBenchmark
{
    public const string Usage =
        "[--shape 110m|1.1b] [--layers N] [--weights bf16|int8|nf4|f32] [--rows N] [--context N] [--prompt N] [--rank R] [--rounds N] [--output FILE]";

    private const int BlockSize = 16;
    private const int Vocabulary = 32_000;

    public static void Run(string[] arguments)
    {
        bool isSmall = (CommandLine.Option(arguments, "--shape") ?? "110m") == "110m";
        int layers = CommandLine.Number(arguments, "--layers", isSmall ? 12 : 4);
        int prompt = CommandLine.Number(arguments, "--prompt", 0);
        int rows = prompt > 0 ? 1 : CommandLine.Number(arguments, "--rows", 16);
        int context = CommandLine.Number(arguments, "--context", 64);
        int rank = CommandLine.Number(arguments, "--rank", 16);
        int rounds = CommandLine.Number(arguments, "--rounds", 40);
        WeightFormat format = Enum.Parse<WeightFormat>(CommandLine.Option(arguments, "--weights") ?? "bf16", ignoreCase: true);
        TinyLlama shape = new TinyLlama { WeightType = DType.BF16, VocabularySize = Vocabulary, Layers = layers, MaxPositions = 4096 } with
        {
            HiddenSize = isSmall ? 768 : 2048,
            IntermediateSize = isSmall ? 2048 : 5632,
            Heads = isSmall ? 12 : 32,
            KvHeads = isSmall ? 12 : 4,
        };
        DirectoryInfo folder = Directory.CreateTempSubdirectory("inferenceserver-step-");
        try
        {
            shape.Write(folder.FullName);
            using TimedBackend backend = new(new CpuBackend(new CpuOptions()));
            ModelLoadOptions options = new() { Weights = format, MaxBatchTokens = Math.Max(rows, prompt), MaxSampledRows = rows };
            using TransformerModel model = TransformerModel.Load(folder.FullName, backend, options);
            DeviceAdapter[] adapters = [.. Enumerable.Range(0, rows).Select(i => CreateAdapter(backend, model, rank, i))];
            string report = Measure(backend, model, adapters, context, prompt, rounds, arguments);
            Console.Write(report);
            if (CommandLine.Option(arguments, "--output") is { } output)
            {
                File.WriteAllText(output, report);
            }

            foreach (DeviceAdapter adapter in adapters)
            {
                adapter.Dispose();
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static string Measure(TimedBackend backend, TransformerModel model, DeviceAdapter[] adapters, int context, int prompt, int rounds, string[] arguments)
    {
        int rows = adapters.Length;
        int blocks = (Math.Max(context, prompt) + BlockSize - 1) / BlockSize;
        using KvCache cache = backend.CreateKvCache(model.KvShape(rows * blocks, BlockSize));
        (string Name, StepInputs Step)[] cases = prompt > 0
            ?
            [
                ("base", Prompt(prompt, blocks, [])),
                ("one adapter", Prompt(prompt, blocks, adapters)),
            ]
            :
            [
                ("base", Step(adapters, context, blocks, groups: 0)),
                ("one adapter", Step(adapters, context, blocks, groups: 1)),
                ("all distinct", Step(adapters, context, blocks, groups: rows)),
            ];
        List<Dictionary<string, double>>[] samples = [.. cases.Select(_ => new List<Dictionary<string, double>>())];
        Sampler sampler = new(Vocabulary);
        float[] logits = new float[rows * Vocabulary];
        SamplingSettings greedy = new() { Temperature = 0 };
        string loadBefore = Machine.LoadAverage();
        for (int round = -2; round < rounds; round++)
        {
            for (int i = 0; i < cases.Length; i++)
            {
                long start = Stopwatch.GetTimestamp();
                backend.Read(model.Forward(cases[i].Step, cache), logits);
                long sampling = Stopwatch.GetTimestamp();
                for (int row = 0; row < rows; row++)
                {
                    sampler.Sample(greedy, [1], 1, [], logits.AsSpan(row * Vocabulary, Vocabulary), [], out _);
                }

                Dictionary<string, double> taken = backend.Take();
                taken["sampling, greedy"] = Stopwatch.GetElapsedTime(sampling).TotalSeconds;
                taken["whole step"] = Stopwatch.GetElapsedTime(start).TotalSeconds;
                if (round >= 0)
                {
                    samples[i].Add(taken);
                }
            }
        }

        string work = prompt > 0
            ? string.Create(CultureInfo.InvariantCulture, $"a prompt of {prompt}")
            : string.Create(CultureInfo.InvariantCulture, $"{rows} sequences at context {context}");
        return Report(backend, cases, samples, work, loadBefore, arguments);
    }

    private static StepInputs Step(DeviceAdapter[] adapters, int context, int blocks, int groups)
    {
        int rows = adapters.Length;
        StepInputs step = new(rows, rows);
        for (int row = 0; row < rows; row++)
        {
            step.AddSampledRow(step.AddSequence([row], context - 1, [.. Enumerable.Range(row * blocks, blocks)]));
        }

        foreach (LoraBatch batch in new[] { step.Lora, step.SampledLora })
        {
            for (int group = 0; group < groups; group++)
            {
                batch.BeginGroup(group * (rows / groups), rows / groups);
                batch.AddEntry(adapters[group], 1);
            }
        }

        return step;
    }

    private static StepInputs Prompt(int tokens, int blocks, DeviceAdapter[] adapters)
    {
        StepInputs step = new(tokens, 1);
        step.AddSampledRow(step.AddSequence([.. Enumerable.Range(0, tokens)], 0, [.. Enumerable.Range(0, blocks)]) + tokens - 1);
        foreach (DeviceAdapter adapter in adapters)
        {
            step.Lora.BeginGroup(0, tokens);
            step.Lora.AddEntry(adapter, 1);
        }

        return step;
    }

    private static DeviceAdapter CreateAdapter(TimedBackend backend, TransformerModel model, int rank, int seed)
    {
        LowRankDelta?[] deltas = new LowRankDelta?[model.Shape.Modules.Count];
        foreach (ModuleShape module in model.Shape.Modules.Where(module => module is { Kind: ModuleKind.Linear, Layer: >= 0 }))
        {
            deltas[module.Index] = new LowRankDelta
            {
                A = new HostMatrix(rank, module.InFeatures, HostTensor.Random(rank, module.InFeatures, seed).Values),
                B = new HostMatrix(module.OutFeatures, rank, HostTensor.Random(module.OutFeatures, rank, seed).Values),
            };
        }

        return backend.CreateAdapter(new AdapterWeights("bench@0", deltas), WeightFormat.BF16);
    }

    private static string Report(
        TimedBackend backend,
        (string Name, StepInputs Step)[] cases,
        List<Dictionary<string, double>>[] samples,
        string work,
        string loadBefore,
        string[] arguments)
    {
        StringBuilder text = new();
        text.AppendLine("# A step by operation").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"- {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC, {Machine.CpuModel()}, {Environment.ProcessorCount} cores");
        text.AppendLine(CultureInfo.InvariantCulture, $"- {backend.Description}");
        text.AppendLine(CultureInfo.InvariantCulture, $"- {work}; best / median us of {samples[0].Count} steps each, in turn");
        text.AppendLine(CultureInfo.InvariantCulture, $"- load average {loadBefore} before, {Machine.LoadAverage()} after");
        text.AppendLine(CultureInfo.InvariantCulture, $"- `dotnet run -c Release --project tests/Benchmarks -- step {CommandLine.Join(arguments)}`");
        text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"| operation | {string.Join(" | ", cases.Select(item => item.Name))} |");
        text.AppendLine(CultureInfo.InvariantCulture, $"|---|{string.Concat(cases.Select(_ => "---|"))}");
        IEnumerable<string> operations = samples.SelectMany(steps => steps.SelectMany(step => step.Keys)).Distinct();
        foreach (string operation in operations.OrderByDescending(name => samples[0].Max(step => step.GetValueOrDefault(name))))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"| {operation} | {string.Join(" | ", samples.Select(steps => Cell(steps, operation)))} |");
        }

        return text.ToString();
    }

    private static string Cell(List<Dictionary<string, double>> steps, string operation)
    {
        double[] times = [.. steps.Select(step => step.GetValueOrDefault(operation) * 1e6)];
        return string.Create(CultureInfo.InvariantCulture, $"{times.Min():F0} / {Statistics.Median(times):F0}");
    }
}
