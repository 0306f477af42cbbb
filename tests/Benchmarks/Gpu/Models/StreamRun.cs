using System.Diagnostics;
using InferenceServer.Engine;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Streaming;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>Requests that run at once, and when each of their tokens came.</summary>
internal sealed class StreamRun
{
    private readonly List<long>[] _arrivals;

    private StreamRun(List<long>[] arrivals) => _arrivals = arrivals;

    /// <summary>Tokens per second of all together while every one of them decodes: from the last one's first token to the first one's last.</summary>
    public double TokensPerSecond
    {
        get
        {
            (long from, long to) = Window;
            long tokens = _arrivals.Sum(arrived => arrived.Count(at => at > from && at <= to));
            return to <= from ? double.NaN : tokens / Stopwatch.GetElapsedTime(from, to).TotalSeconds;
        }
    }

    /// <summary>Seconds between the tokens of one sequence, median, while all decode.</summary>
    public double StepSeconds => Statistics.Median(Gaps(Window.From, Window.To));

    /// <summary>From the last one's first token on, to the first one's last.</summary>
    public (long From, long To) Window => (_arrivals.Max(arrived => arrived[0]), _arrivals.Min(arrived => arrived[^1]));

    /// <summary>Runs one request for each adapter until all have ended.</summary>
    /// <param name="engine">The engine.</param>
    /// <param name="adapters">The adapter of each; empty for the base.</param>
    /// <param name="promptTokens">Random tokens before the first new one.</param>
    /// <param name="newTokens">Tokens that each generates.</param>
    /// <param name="random">Of the prompts: new ones each time, so that no prefix is found again.</param>
    /// <param name="vocabulary">Number of tokens to draw from.</param>
    public static async Task<StreamRun> RunAsync(
        InferenceEngine engine, IReadOnlyList<string> adapters, int promptTokens, int newTokens, Random random, int vocabulary)
    {
        GenerationRequest[] requests = [.. adapters.Select(adapter => Request(adapter, promptTokens, newTokens, random, vocabulary))];
        List<long>[] arrivals = [.. requests.Select(_ => new List<long>(newTokens))];
        await Task.WhenAll(requests.Select((request, i) => ReadAsync(engine, request, arrivals[i])));
        return new StreamRun(arrivals);
    }

    /// <summary>A greedy request of a length that nothing shortens.</summary>
    public static GenerationRequest Request(string adapter, int promptTokens, int newTokens, Random random, int vocabulary) => new()
    {
        Prompt = new TokenPrompt([.. Enumerable.Range(0, promptTokens).Select(_ => random.Next(vocabulary))]),
        Adapters = adapter.Length == 0 ? [] : [new AdapterReference(adapter)],
        Sampling = new SamplingParameters { Temperature = 0 },
        Stopping = new StoppingCriteria { MaxTokens = newTokens, IgnoreEos = true },
        Output = new OutputOptions(OmitText: true),
    };

    /// <summary>Runs one request and notes the time of every token.</summary>
    /// <returns>What the engine says of it.</returns>
    public static async Task<GenerationUsage> ReadAsync(InferenceEngine engine, GenerationRequest request, List<long> arrived)
    {
        await using GenerationStream stream = await engine.SubmitAsync(request);
        GenerationUsage? usage = null;
        await foreach (GenerationChunk chunk in stream.ReadAllAsync())
        {
            // A reader that lags gets several at once; they came together as far as anybody can tell.
            long now = Stopwatch.GetTimestamp();
            for (int i = 0; i < chunk.TokenIds.Count; i++)
            {
                arrived.Add(now);
            }

            usage = chunk.Usage ?? usage;
        }

        return usage!;
    }

    /// <summary>Seconds between two tokens of one sequence that arrived within a time, of all sequences.</summary>
    public IEnumerable<double> Gaps(long from, long to)
    {
        foreach (List<long> arrived in _arrivals)
        {
            for (int i = 1; i < arrived.Count; i++)
            {
                if (arrived[i - 1] >= from && arrived[i] <= to)
                {
                    yield return Stopwatch.GetElapsedTime(arrived[i - 1], arrived[i]).TotalSeconds;
                }
            }
        }
    }
}
