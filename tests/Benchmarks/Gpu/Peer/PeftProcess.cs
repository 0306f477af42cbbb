using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Benchmarks.Gpu.Models;

namespace InferenceServer.Benchmarks.Gpu.Peer;

/// <summary>PyTorch, transformers and PEFT in a process of their own, which works when it is told to.</summary>
internal sealed class PeftProcess : IDisposable
{
    private readonly Process _process;

    private PeftProcess(Process process, string versions)
    {
        _process = process;
        Versions = versions;
    }

    /// <summary>What computes.</summary>
    public string Versions { get; }

    /// <summary>Starts it with a model of the shape's dimensions; where it cannot, says why.</summary>
    /// <param name="options">Interpreter and device.</param>
    /// <param name="shape">The model.</param>
    /// <param name="folder">Takes the model's config.json.</param>
    /// <param name="arguments">Further arguments of the script.</param>
    /// <returns>The process, or null and the reason.</returns>
    public static async Task<(PeftProcess? Peer, string Reason)> StartAsync(
        GpuOptions options, ModelDimensions shape, string folder, params IReadOnlyList<string> arguments)
    {
        Directory.CreateDirectory(folder);
        string config = Path.Combine(folder, "peer-config.json");
        await File.WriteAllTextAsync(config, shape.Config().ToJsonString());
        string script = Path.Combine(AppContext.BaseDirectory, "Gpu", "Peer", "peft_peer.py");
        ProcessStartInfo start = new(
            options.Python,
            [script, "--config", config, "--device", options.Device, "--rank", AdapterFiles.Rank.ToString(CultureInfo.InvariantCulture), .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception error)
        {
            return (null, $"{options.Python} does not start: {error.Message}");
        }

        JsonNode? first = await AnswerAsync(process);
        if ((string?)first?["ready"] is { } versions)
        {
            return (new PeftProcess(process, versions), "");
        }

        process.Dispose();
        return (null, (string?)first?["missing"] ?? $"{options.Python} {Path.GetFileName(script)} ended; its own message is in the log");
    }

    /// <summary>New tokens per second of a batch, prompts included.</summary>
    public async Task<double> GenerateAsync(IEnumerable<int> adapters, int promptTokens, int newTokens)
    {
        JsonNode answer = await AskAsync(new JsonObject
        {
            ["do"] = "generate",
            ["adapters"] = JsonSerializer.SerializeToNode(adapters),
            ["prompt"] = promptTokens,
            ["new"] = newTokens,
        });
        return (double)answer["tokens"]! / (double)answer["seconds"]!;
    }

    /// <summary>Seconds of steps of training.</summary>
    public async Task<double> TrainAsync(int steps) => (double)(await AskAsync(new JsonObject { ["do"] = "train", ["steps"] = steps }))["seconds"]!;

    /// <summary>Peak of device memory that it took, bytes.</summary>
    public async Task<double> MemoryAsync() => (double)(await AskAsync(new JsonObject { ["do"] = "memory" }))["bytes"]!;

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.Dispose();
    }

    private static async Task<JsonNode?> AnswerAsync(Process process)
    {
        // Libraries print here too; an answer is an object.
        while (await process.StandardOutput.ReadLineAsync() is { } line)
        {
            if (line.StartsWith('{'))
            {
                return JsonNode.Parse(line);
            }

            Console.WriteLine(line);
        }

        return null;
    }

    private async Task<JsonNode> AskAsync(JsonObject command)
    {
        await _process.StandardInput.WriteLineAsync(command.ToJsonString());
        await _process.StandardInput.FlushAsync();
        return await AnswerAsync(_process) ?? throw new InvalidOperationException("the peer ended; its own message is in the log");
    }
}
