using System.Globalization;
using System.Text.Json;
using InferenceServer.TestKit;

namespace InferenceServer.Benchmarks.Training;

/// <summary>
/// A training step beside torch's on the same weights, batch and machine. Each side has a process of its own and they take turns, so that
/// a noisy machine troubles all alike; their losses must agree, or the comparison means nothing.
/// </summary>
internal static class TrainingBenchmark
{
    private const double LearningRate = 1e-3;
    private const int CheckedSteps = 3;
    private const double SliceSeconds = 1;

    public static void Run(string[] arguments)
    {
        TrainingBenchmarkOptions options = TrainingBenchmarkOptions.Parse(arguments);
        DirectoryInfo folder = Directory.CreateTempSubdirectory("inferenceserver-training-");
        TrainingReport report = new(options, arguments);
        try
        {
            foreach (TrainingCase one in options.Cases)
            {
                Run(one, options, folder.FullName, report);
                if (options.Output is not null)
                {
                    File.WriteAllText(options.Output, report.ToString());
                }
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        Console.Write(report.ToString());
    }

    private static void Run(TrainingCase one, TrainingBenchmarkOptions options, string folder, TrainingReport report)
    {
        string model = Path.Combine(folder, "model-" + one.Shape);
        string adapter = Path.Combine(folder, "adapter");
        string tokens = Path.Combine(folder, "tokens.json");
        if (!Directory.Exists(model))
        {
            one.Model().Write(model);
        }

        Directory.CreateDirectory(adapter);
        File.WriteAllText(Path.Combine(adapter, "adapter_config.json"), one.AdapterConfig());
        File.WriteAllText(tokens, JsonSerializer.Serialize(one.Sequences()));
        string[] common =
        [
            "--model", model, "--adapter", adapter, "--tokens", tokens, "--method", one.Method,
            "--threads", options.Threads.ToString(CultureInfo.InvariantCulture), "--rate", LearningRate.ToString(CultureInfo.InvariantCulture),
        ];
        List<TrainingProcess> sides = [];
        try
        {
            // Ours first: it writes the adapter that all start from.
            sides.Add(Ours("ours", common));
            if (options.Checkpointing)
            {
                sides.Add(Ours("ours, checkpointing", [.. common, "--checkpointing"]));
            }

            sides.AddRange(options.Peers.Select(peer => Torch(peer, options, common)));
            double difference = CompareLosses(sides);
            string loadBefore = Machine.LoadAverage();
            for (int round = 0; round < options.Rounds; round++)
            {
                foreach (TrainingProcess side in sides)
                {
                    side.RunSlice();
                }
            }

            foreach (TrainingProcess side in sides)
            {
                side.Quit();
            }

            report.Add(one, sides, difference, loadBefore);
        }
        finally
        {
            sides.ForEach(side => side.Dispose());
        }
    }

    /// <summary>Trains the first steps, which are not timed, and compares their losses; returns the largest difference from f32 torch.</summary>
    private static double CompareLosses(List<TrainingProcess> sides)
    {
        double largest = 0;
        for (int step = 1; step <= CheckedSteps; step++)
        {
            double[] losses = [.. sides.Select(side => side.StepOnce(SliceSeconds))];
            for (int i = 1; i < sides.Count; i++)
            {
                // bf16 rounds to 3 digits, and what the rounding does to the loss grows with the steps.
                bool isExact = !sides[i].Name.Contains("bf16", StringComparison.Ordinal);
                double difference = Math.Abs(losses[i] - losses[0]);
                if (difference > (isExact ? 1e-4 : 0.1) * losses[0])
                {
                    throw new InvalidOperationException(
                        $"step {step}: {sides[i].Name} has the loss {losses[i]}, ours is {losses[0]}; they do not compute the same");
                }

                largest = isExact ? Math.Max(largest, difference) : largest;
            }
        }

        return largest;
    }

    private static TrainingProcess Ours(string name, IReadOnlyList<string> common) => new(
        name,
        Environment.ProcessPath ?? throw new InvalidOperationException("this program has no path"),
        ["training-worker", .. common],
        new Dictionary<string, string>());

    private static TrainingProcess Torch(string peer, TrainingBenchmarkOptions options, IReadOnlyList<string> common)
    {
        string root = GoldenData.RepositoryRoot() ?? throw new InvalidOperationException("the benchmark runs from its repository only");
        string script = Path.Combine(root, "tests", "Benchmarks", "Training", "torch_peer.py");
        Dictionary<string, string> environment = [];
        if (options.BlasFolder is { } folder && peer != "installed")
        {
            environment["LD_LIBRARY_PATH"] = folder;
        }

        string[] extra = peer == "bf16" ? ["--bf16"] : [];
        return new TrainingProcess("torch " + peer, options.Python, [script, .. common, .. extra], environment);
    }
}
