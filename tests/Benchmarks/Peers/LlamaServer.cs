using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>llama-server with its adapters loaded: as many places as there are requests, each request naming its adapter, on the loopback.</summary>
internal sealed class LlamaServer : IDisposable
{
    // Prompt and answer of a tenant's request fit many times.
    private const int ContextEach = 256;

    private readonly Process _process;
    private readonly HttpClient _client;
    private readonly Task _errors;
    private readonly Queue<string> _lastErrors = new();

    private LlamaServer(Process process, Uri address)
    {
        _process = process;
        _client = new HttpClient { BaseAddress = address, Timeout = TimeSpan.FromMinutes(30) };

        // Also when this process is told to end amid a measurement.
        AppDomain.CurrentDomain.ProcessExit += Kill;
        _errors = Task.WhenAll(KeepLastAsync(process.StandardError), KeepLastAsync(process.StandardOutput));
    }

    public int ProcessId => _process.Id;

    /// <summary>Starts it and waits until it is healthy.</summary>
    /// <param name="folder">Where the program is.</param>
    /// <param name="model">A GGUF file.</param>
    /// <param name="adapters">GGUF files; a request names one by its place in this list.</param>
    /// <param name="places">Requests that run at once.</param>
    /// <param name="threads">Threads that compute.</param>
    public static async Task<LlamaServer> StartAsync(string folder, string model, IReadOnlyList<string> adapters, int places, int threads)
    {
        int port = FreePort();
        string path = Path.Combine(folder, "llama-server");
        ProcessStartInfo start = new(path,
        [
            "-m", model, "--lora", string.Join(',', adapters), "--lora-init-without-apply", "-np", Text(places), "-c", Text(ContextEach * places),
            "-t", Text(threads), "-tb", Text(threads), "-ngl", "0", "--cache-ram", "0", "--no-warmup", "--no-webui",
            "--host", "127.0.0.1", "--port", Text(port),
        ])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        Process process = Process.Start(start) ?? throw new InvalidOperationException($"{path} did not start");
        LlamaServer server = new(process, new Uri($"http://127.0.0.1:{Text(port)}"));
        try
        {
            await server.WaitUntilHealthyAsync();
            return server;
        }
        catch
        {
            server.Dispose();
            throw;
        }
    }

    /// <summary>Tokens per second that clients see of requests sent at once, their prompts included.</summary>
    /// <param name="adapters">The adapter's place of each request; -1 for none.</param>
    /// <param name="promptTokens">Tokens of each prompt.</param>
    /// <param name="newTokens">Tokens that each request generates.</param>
    public async Task<double> ServeAsync(IReadOnlyList<int> adapters, int promptTokens, int newTokens)
    {
        JsonObject[] requests = [.. adapters.Select((adapter, number) => Request(
            adapter, [.. Enumerable.Range(0, promptTokens).Select(i => 300 + number + (100 * i))], newTokens))];
        long start = Stopwatch.GetTimestamp();
        int[] tokens = await Task.WhenAll(requests.Select(CountAsync));
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return tokens.All(count => count == newTokens)
            ? tokens.Sum() / seconds
            : throw new InvalidOperationException($"asked llama-server for {newTokens} tokens each, got {string.Join(", ", tokens)}");
    }

    /// <summary>The most probable tokens after a prompt.</summary>
    public async Task<int[]> GreedyAsync(int adapter, int[] prompt, int newTokens)
    {
        JsonObject request = Request(adapter, prompt, newTokens);
        request["return_tokens"] = true;
        return [.. (await CompleteAsync(request))["tokens"]!.AsArray().Select(token => (int)token!)];
    }

    public void Dispose()
    {
        AppDomain.CurrentDomain.ProcessExit -= Kill;
        _client.Dispose();
        Kill(this, EventArgs.Empty);
        _errors.Wait();
        _process.Dispose();
    }

    private void Kill(object? sender, EventArgs arguments)
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }
    }

    private static JsonObject Request(int adapter, int[] prompt, int newTokens)
    {
        return new JsonObject
        {
            ["prompt"] = new JsonArray([.. prompt.Select(token => (JsonNode)token)]),
            ["n_predict"] = newTokens,
            ["temperature"] = 0,
            ["ignore_eos"] = true,
            ["cache_prompt"] = false,

            // A request that names none gets all of them at once.
            ["lora"] = new JsonArray(new JsonObject { ["id"] = Math.Max(adapter, 0), ["scale"] = adapter < 0 ? 0 : 1 }),
        };
    }

    private async Task<int> CountAsync(JsonObject request) => (int)(await CompleteAsync(request))["tokens_predicted"]!;

    private async Task<JsonNode> CompleteAsync(JsonObject request)
    {
        using HttpResponseMessage answer = await _client.PostAsJsonAsync("/completion", request);
        string text = await answer.Content.ReadAsStringAsync();
        return answer.IsSuccessStatusCode ? JsonNode.Parse(text)! : throw new InvalidOperationException($"llama-server: {text}");
    }

    private async Task WaitUntilHealthyAsync()
    {
        while (true)
        {
            if (_process.HasExited)
            {
                await _errors;
                throw new InvalidOperationException($"llama-server ended with {_process.ExitCode}: {string.Join('\n', _lastErrors)}");
            }

            try
            {
                using HttpResponseMessage answer = await _client.GetAsync("/health");
                if (answer.IsSuccessStatusCode)
                {
                    return;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100));
        }
    }

    /// <summary>Reads what it writes, so that it never blocks, and keeps the end of it.</summary>
    private async Task KeepLastAsync(StreamReader reader)
    {
        while (await reader.ReadLineAsync() is { } line)
        {
            lock (_lastErrors)
            {
                _lastErrors.Enqueue(line);
                if (_lastErrors.Count > 20)
                {
                    _lastErrors.Dequeue();
                }
            }
        }
    }

    private static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
