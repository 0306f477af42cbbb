using System.Diagnostics;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Benchmarks.Load;

/// <summary>Requests, so many of them at once as the options say, and what became of them.</summary>
internal sealed class LoadSlice
{
    private readonly InferenceClient _client;
    private readonly LoadOptions _options;

    public LoadSlice(InferenceClient client, LoadOptions options)
    {
        _client = client;
        _options = options;
    }

    /// <summary>Sends a request for each entry, the next one as soon as one has ended, and waits for all.</summary>
    /// <param name="adapters">The adapter's number for each request; -1 for the base.</param>
    /// <param name="random">Of the prompts; new ones each time, so that the prefix cache finds nothing.</param>
    /// <returns>Seconds until the last ended, and each request's times.</returns>
    /// <exception cref="InvalidOperationException">A stream was not what was asked for.</exception>
    public async Task<(double Seconds, RequestTiming[] Requests)> RunAsync(int[] adapters, Random random)
    {
        GenerateRequest[] requests = [.. adapters.Select(adapter => Request(adapter, random))];
        long start = Stopwatch.GetTimestamp();
        RequestTiming[] timings = new RequestTiming[requests.Length];
        int next = -1;
        await Task.WhenAll(Enumerable.Range(0, _options.Concurrency).Select(async _ =>
        {
            // Off this thread at once: the other requests are not to wait until this one is on its way.
            await Task.Yield();
            for (int i = Interlocked.Increment(ref next); i < requests.Length; i = Interlocked.Increment(ref next))
            {
                timings[i] = await RunOneAsync(requests[i]);
            }
        }));
        return (Stopwatch.GetElapsedTime(start).TotalSeconds, timings);
    }

    /// <summary>Greedy and past end tokens, so that every request has the length asked for.</summary>
    private GenerateRequest Request(int adapter, Random random)
    {
        GenerateRequest request = new()
        {
            Adapter = adapter < 0 ? "" : LoadServer.AdapterName(adapter),
            TokenIds = new TokenIds(),
            Sampling = new SamplingParameters { Temperature = 0 },
            Stopping = new StoppingCriteria { MaxTokens = _options.OutputTokens, IgnoreEos = true },
        };
        for (int i = 0; i < _options.PromptTokens; i++)
        {
            request.TokenIds.Ids.Add(random.Next(256));
        }

        return request;
    }

    private async Task<RequestTiming> RunOneAsync(GenerateRequest request)
    {
        long start = Stopwatch.GetTimestamp();
        double first = 0;
        double last = 0;
        int tokens = 0;
        string adapter = "";
        GenerateResponse end = new();
        await foreach (GenerateResponse message in _client.GenerateAsync(request))
        {
            if (message.Started is { } started)
            {
                adapter = started.Adapters.FirstOrDefault("");
            }

            if (message.TokenIds.Count > 0)
            {
                last = Stopwatch.GetElapsedTime(start).TotalSeconds;
                first = tokens == 0 ? last : first;
                tokens += message.TokenIds.Count;
            }

            end = message;
        }

        Check(request, adapter, tokens, end);
        return new RequestTiming(first, (last - first) / (tokens - 1));
    }

    private void Check(GenerateRequest request, string adapter, int tokens, GenerateResponse end)
    {
        if (tokens != _options.OutputTokens || end.FinishReason != FinishReason.Length || end.Usage.CompletionTokens != tokens)
        {
            throw new InvalidOperationException(
                $"{tokens} tokens came of {_options.OutputTokens} asked for; the server counts {end.Usage?.CompletionTokens}, reason {end.FinishReason}");
        }

        if (adapter.Split('@')[0] != request.Adapter)
        {
            throw new InvalidOperationException($"adapter '{adapter}' served a request for '{request.Adapter}'");
        }

        if (end.Usage.CachedTokens > 0)
        {
            throw new InvalidOperationException($"{end.Usage.CachedTokens} tokens of a new prompt were found in the prefix cache");
        }
    }
}
