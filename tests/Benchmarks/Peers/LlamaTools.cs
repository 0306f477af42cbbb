using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>llama-bench and llama-batched-bench: llama.cpp without a server in the way. Each call is a process that loads, warms up and measures.</summary>
internal sealed class LlamaTools
{
    private readonly string _folder;
    private readonly string _model;
    private readonly string _threads;

    /// <param name="folder">Where the programs are.</param>
    /// <param name="model">A GGUF file.</param>
    /// <param name="threads">Threads that compute.</param>
    public LlamaTools(string folder, string model, int threads)
    {
        _folder = folder;
        _model = model;
        _threads = threads.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>The library that it chose for this processor; known after the first call.</summary>
    public string Backend { get; private set; } = "";

    /// <summary>Tokens per second of a prompt, once for each repetition.</summary>
    public double[] Prefill(int promptTokens, int repetitions) => Bench(promptTokens, newTokens: 0, repetitions);

    /// <summary>Tokens per second of one sequence, once for each repetition.</summary>
    public double[] Decode(int newTokens, int repetitions) => Bench(promptTokens: 0, newTokens, repetitions);

    /// <summary>Tokens per second of sequences that are decoded together, once for each repetition.</summary>
    public double[] DecodeBatch(int sequences, int promptTokens, int newTokens, int repetitions)
    {
        int cells = sequences * (promptTokens + newTokens);
        string output = Run(
            "llama-batched-bench",
            "-m", _model, "-t", _threads, "-tb", _threads, "-ngl", "0", "-c", Text(cells), "-b", "2048", "-ub", "512",
            "-npp", Text(promptTokens), "-ntg", Text(newTokens), "-npl", string.Join(',', Enumerable.Repeat(Text(sequences), repetitions)),
            "--output-format", "jsonl");
        return [.. output.Split('\n').Where(line => line.StartsWith('{')).Select(line => (double)JsonNode.Parse(line)!["speed_tg"]!)];
    }

    private double[] Bench(int promptTokens, int newTokens, int repetitions)
    {
        string output = Run(
            "llama-bench",
            "-m", _model, "-t", _threads, "-ngl", "0", "-p", Text(promptTokens), "-n", Text(newTokens), "-r", Text(repetitions), "-o", "json");
        return [.. JsonNode.Parse(output)!.AsArray().Single()!["samples_ts"]!.AsArray().Select(sample => (double)sample!)];
    }

    private string Run(string program, params string[] arguments)
    {
        string path = Path.Combine(_folder, program);
        ProcessStartInfo start = new(path, arguments)
        {
            WorkingDirectory = _folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"{path} did not start");
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {errors.Result}");
        }

        Backend = Loaded(errors.Result) ?? Backend;
        return output;
    }

    /// <summary>The file that "load_backend: loaded CPU backend from FILE" names.</summary>
    private static string? Loaded(string errors) => errors.Split('\n')
        .Where(line => line.StartsWith("load_backend: loaded CPU backend", StringComparison.Ordinal))
        .Select(line => Path.GetFileNameWithoutExtension(line.Split(' ')[^1]))
        .FirstOrDefault();

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
