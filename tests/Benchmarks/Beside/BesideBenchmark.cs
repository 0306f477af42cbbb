using System.Diagnostics;
using System.Globalization;
using System.Text;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.Benchmarks.Beside;

/// <summary>
/// What training beside serving costs each of them: tokens per second of greedy streams alone and while a job runs, and of a job alone and
/// while streams run, in turn, so that the machine's mood is the same for all.
/// </summary>
internal static class BesideBenchmark
{
    public const string Usage = "[--streams N] [--tokens N] [--rounds N] [--pause P] [--out FILE]";

    private const string Config =
        """{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"}""";

    private static readonly TinyLlama s_model = new()
    {
        WeightType = DType.BF16,
        VocabularySize = 4096,
        HiddenSize = 512,
        IntermediateSize = 1536,
        Layers = 8,
        Heads = 8,
        KvHeads = 8,
        MaxPositions = 2048,
    };

    public static async Task RunAsync(string[] arguments)
    {
        int streams = CommandLine.Number(arguments, "--streams", 1);
        int tokens = CommandLine.Number(arguments, "--tokens", 64, least: 2);
        int rounds = CommandLine.Number(arguments, "--rounds", 5);
        string? pause = CommandLine.Option(arguments, "--pause");
        DirectoryInfo folder = Directory.CreateTempSubdirectory("inferenceserver-beside-");
        string modelFolder = Path.Combine(folder.FullName, "model");
        s_model.Write(modelFolder);
        if (pause is not null)
        {
            Environment.SetEnvironmentVariable("INFERENCESERVER_Training__PausePerWork", pause);
        }

        string before = Machine.LoadAverage();
        await using InferenceServerHost host = InferenceServerHost.Build(
        [
            "--model", modelFolder, "--data", Path.Combine(folder.FullName, "data"), "--packed-cache", "off", "--grpc", "http://127.0.0.1:0",
            "--http", ServerOptions.None, "--device", "cpu", "--log-level", "none",
        ]);
        await host.StartAsync();
        await host.Ready;
        using InferenceClient client = new(host.GrpcAddress.ToString());
        await ServeAsync(client, streams, tokens);
        List<(double Alone, double Beside, double TrainingAlone, double TrainingBeside)> results = [];
        for (int round = 0; round < rounds; round++)
        {
            double alone = await ServeAsync(client, streams, tokens);
            string job = await StartJobAsync(client);
            double trainingAlone = await PaceAsync(client, job, () => Task.Delay(TimeSpan.FromSeconds(4)));
            double beside = 0;
            double trainingBeside = await PaceAsync(client, job, async () => beside = await ServeAsync(client, streams, tokens));
            await client.Training.CancelAsync(job);
            await client.Training.DeleteAsync(job);
            results.Add((alone, beside, trainingAlone, trainingBeside));
        }

        ServerInfo info = await client.GetInfoAsync();
        await host.StopAsync();
        string text = Report(results, info, $"{streams} streams of {tokens} tokens, {rounds} rounds, PausePerWork {pause ?? "0 (default)"}", before);
        Console.WriteLine(text);
        if (CommandLine.Option(arguments, "--out") is { } file)
        {
            await File.AppendAllTextAsync(file, text);
        }

        folder.Delete(recursive: true);
    }

    /// <summary>Tokens per second of all streams together.</summary>
    private static async Task<double> ServeAsync(InferenceClient client, int streams, int tokens)
    {
        GenerationSettings settings = new()
        {
            Sampling = new SamplingParameters { Temperature = 0 },
            Stopping = new StoppingCriteria { MaxTokens = tokens, IgnoreEos = true },
        };
        long start = Stopwatch.GetTimestamp();
        GenerationResult[] answers =
            await Task.WhenAll(Enumerable.Range(0, streams).Select(i => client.GenerateTextAsync($"stream {i} of the benchmark", settings)));
        return answers.Sum(answer => answer.TokenIds.Count) / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>A job that runs for longer than anybody watches, past its first steps.</summary>
    private static async Task<string> StartJobAsync(InferenceClient client)
    {
        StringBuilder data = new();
        for (int i = 0; i < 200; i++)
        {
            data.Append(CultureInfo.InvariantCulture, $"{{\"prompt\": \"question {i} of many\", \"completion\": \" answer {i * 37 % 101} to it\"}}\n");
        }

        TrainingSpec spec = new()
        {
            Adapter = "beside",
            AdapterConfig = Config,
            Data = new DataSettings { HeldOutShare = 0, MaxSampleTokens = 128 },
            Run = new RunSettings { Steps = 1_000_000, MaxBatchTokens = 128, CheckpointEvery = 1_000_000 },
        };
        TrainingJob job = await client.Training.StartAsync(spec, new MemoryStream(Encoding.UTF8.GetBytes(data.ToString())));
        await foreach (TrainingEvent happened in client.Training.WatchAsync(job.Id))
        {
            if (happened.StepDone is not null && happened.Step == 3)
            {
                break;
            }
        }

        return job.Id;
    }

    /// <summary>Training steps per second while something else happens, from whole steps and the time between their ends.</summary>
    private static async Task<double> PaceAsync(InferenceClient client, string job, Func<Task> meanwhile)
    {
        long known = (await client.Training.GetAsync(job)).LastEvent;
        long start = Stopwatch.GetTimestamp();
        await meanwhile();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        long now = (await client.Training.GetAsync(job)).LastEvent;
        return (now - known) / seconds;
    }

    private static string Report(
        List<(double Alone, double Beside, double TrainingAlone, double TrainingBeside)> results, ServerInfo info, string setting, string before)
    {
        StringBuilder text = new();
        text.AppendLine(CultureInfo.InvariantCulture, $"## {setting}");
        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"- {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC, {Machine.CpuModel()}, {Environment.ProcessorCount} cores; {info.Device}");
        text.AppendLine(CultureInfo.InvariantCulture, $"- load average {before} before, {Machine.LoadAverage()} after");
        text.AppendLine(CultureInfo.InvariantCulture, $"- {info.Model.Parameters / 1e6:F0} million random parameters in {info.Model.WeightFormat}; LoRA rank 8 on all linear modules, micro-batches of 128 tokens");
        text.AppendLine();
        text.AppendLine("| round | decode tokens/s alone | beside a job | share | training steps/s alone | beside streams | share |");
        text.AppendLine("|---|---|---|---|---|---|---|");
        for (int i = 0; i < results.Count; i++)
        {
            (double alone, double beside, double trainingAlone, double trainingBeside) = results[i];
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {i + 1} | {alone:F1} | {beside:F1} | {100 * beside / alone:F0} % | {trainingAlone:F2} | {trainingBeside:F2} | {100 * trainingBeside / trainingAlone:F0} % |");
        }

        double Median(Func<(double Alone, double Beside, double TrainingAlone, double TrainingBeside), double> value) =>
            results.Select(value).Order().ElementAt(results.Count / 2);
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"| median | {Median(r => r.Alone):F1} | {Median(r => r.Beside):F1} | {100 * Median(r => r.Beside / r.Alone):F0} % | {Median(r => r.TrainingAlone):F2} | {Median(r => r.TrainingBeside):F2} | {100 * Median(r => r.TrainingBeside / r.TrainingAlone):F0} % |");
        text.AppendLine();
        return text.ToString();
    }
}
