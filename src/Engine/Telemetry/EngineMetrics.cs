using System.Diagnostics.Metrics;

namespace InferenceServer.Engine.Telemetry;

/// <summary>The engine's instruments, meter <c>InferenceServer.Engine</c>. Times are seconds, as OpenTelemetry asks.</summary>
internal sealed class EngineMetrics : IDisposable
{
    public const string MeterName = "InferenceServer.Engine";

    private static readonly InstrumentAdvice<double> s_requestSeconds = Buckets(
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320);

    private static readonly InstrumentAdvice<double> s_stepSeconds = Buckets(
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5);

    private readonly Meter _meter = new(MeterName);
    private readonly AdapterLabels _labels;
    private readonly Histogram<double> _timeToFirstToken;
    private readonly Histogram<double> _timePerOutputToken;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _queueTime;
    private readonly Histogram<double> _stepDuration;
    private readonly Histogram<int> _stepTokens;
    private readonly Histogram<double> _mergeDuration;
    private readonly Counter<long> _requests;
    private readonly Counter<long> _promptTokens;
    private readonly Counter<long> _generationTokens;

    public EngineMetrics(Func<EngineSnapshot> snapshot, int maxAdapters)
    {
        _labels = new AdapterLabels(maxAdapters);
        _timeToFirstToken = _meter.CreateHistogram("inference.request.time_to_first_token", "s", "Arrival to first token", advice: s_requestSeconds);
        _timePerOutputToken = _meter.CreateHistogram(
            "inference.request.time_per_output_token", "s", "Mean time between the tokens after the first, by request", advice: s_stepSeconds);
        _duration = _meter.CreateHistogram("inference.request.duration", "s", "Arrival to end", advice: s_requestSeconds);
        _queueTime = _meter.CreateHistogram("inference.request.queue.duration", "s", "Arrival to the first step", advice: s_requestSeconds);
        _stepDuration = _meter.CreateHistogram("inference.step.duration", "s", "Plan to commit of one step", advice: s_stepSeconds);
        _stepTokens = _meter.CreateHistogram(
            "inference.step.tokens", "{token}", "Rows of one step", advice: new InstrumentAdvice<int> { HistogramBucketBoundaries = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192] });
        _mergeDuration = _meter.CreateHistogram("inference.merge.duration", "s", "Request to completion of a merge or unmerge", advice: s_requestSeconds);
        _requests = _meter.CreateCounter<long>("inference.requests", "{request}", "Requests that ended, by adapter and outcome");
        _promptTokens = _meter.CreateCounter<long>("inference.tokens.prompt", "{token}", "Prompt tokens of requests that ran, by adapter");
        _generationTokens = _meter.CreateCounter<long>("inference.tokens.generation", "{token}", "Tokens generated, by adapter");
        _meter.CreateObservableUpDownCounter("inference.requests.running", () => snapshot().Running, "{request}", "Sequences that hold KV blocks");
        _meter.CreateObservableUpDownCounter("inference.requests.waiting", () => snapshot().Waiting, "{request}", "Requests that wait for an adapter or for room");
        _meter.CreateObservableGauge("inference.kv_cache.usage", () => Ratio(snapshot()), "1", "Share of the KV blocks in use");
        _meter.CreateObservableGauge(
            "inference.shared_memory.usage", () => Shared(snapshot()), "By", "Device memory that KV blocks and adapters share, by who has it; 0 where they share none");
        _meter.CreateObservableGauge(
            "inference.shared_memory.wanted", () => snapshot().SharedMemory?.WantedBytes ?? 0, "By", "Bytes that adapters on their way need");
        _meter.CreateObservableCounter(
            "inference.shared_memory.given", () => snapshot().SharedMemory?.GivenBytes ?? 0, "By", "Bytes that KV blocks gave to adapters");
        _meter.CreateObservableCounter("inference.prefix_cache.queries", () => snapshot().PrefixQueryTokens, "{token}", "Tokens looked up in the prefix cache");
        _meter.CreateObservableCounter("inference.prefix_cache.hits", () => snapshot().PrefixHitTokens, "{token}", "Tokens found in the prefix cache");
        _meter.CreateObservableCounter("inference.preemptions", () => snapshot().Preemptions, "{sequence}", "Sequences that lost their KV blocks and were computed again");
        _meter.CreateObservableGauge("inference.merge.state", () => Merge(snapshot()), "{adapter}", "1 while an adapter is merged into the base, with its name");
        _meter.CreateObservableGauge(
            "inference.merge.logit_change", () => LogitChanges(snapshot()), "{logit}", "Largest change that the merge makes to a logit of a probe, by whose rows; 0 without one");
    }

    public void RecordFirstStep(TimeSpan queueTime, int promptTokens, string? adapter)
    {
        _queueTime.Record(queueTime.TotalSeconds);
        _promptTokens.Add(promptTokens, _labels.For(adapter));
    }

    public void RecordFirstToken(TimeSpan sinceArrival) => _timeToFirstToken.Record(sinceArrival.TotalSeconds);

    public void RecordStep(TimeSpan duration, int tokens)
    {
        _stepDuration.Record(duration.TotalSeconds);
        _stepTokens.Record(tokens);
    }

    /// <summary>A request that reached the queue has ended.</summary>
    /// <param name="duration">Arrival to end.</param>
    /// <param name="decoding">First token to end.</param>
    /// <param name="newTokens">Tokens generated.</param>
    /// <param name="adapter">Its first adapter's name; null for the base.</param>
    /// <param name="outcome">A <see cref="RequestOutcome"/>.</param>
    public void RecordEnd(TimeSpan duration, TimeSpan decoding, int newTokens, string? adapter, string outcome)
    {
        KeyValuePair<string, object?> label = _labels.For(adapter);
        _requests.Add(1, label, new("outcome", outcome));
        _generationTokens.Add(newTokens, label);
        _duration.Record(duration.TotalSeconds, new KeyValuePair<string, object?>("outcome", outcome));
        if (newTokens > 1)
        {
            _timePerOutputToken.Record(decoding.TotalSeconds / (newTokens - 1));
        }
    }

    /// <summary>A request was turned away before it reached the queue. Its adapter is not named: it may not exist.</summary>
    public void RecordRefusal(string outcome) => _requests.Add(1, new("adapter", AdapterLabels.Other), new("outcome", outcome));

    public void RecordMerge(TimeSpan duration, string kind, bool isSuccess) =>
        _mergeDuration.Record(duration.TotalSeconds, new("kind", kind), new("outcome", isSuccess ? "ok" : "failed"));

    public void Dispose() => _meter.Dispose();

    private static InstrumentAdvice<double> Buckets(params double[] boundaries) => new() { HistogramBucketBoundaries = boundaries };

    private static double Ratio(EngineSnapshot now) => now.KvBlocksTotal == 0 ? 0 : (double)now.KvBlocksUsed / now.KvBlocksTotal;

    private static Measurement<long>[] Shared(EngineSnapshot now) =>
    [
        new(now.SharedMemory?.KvBytes ?? 0, new KeyValuePair<string, object?>("holder", "kv")),
        new(now.SharedMemory?.AdapterBytes ?? 0, new KeyValuePair<string, object?>("holder", "adapters")),
        new(now.SharedMemory?.FreeBytes ?? 0, new KeyValuePair<string, object?>("holder", "none")),
    ];

    private static Measurement<double>[] LogitChanges(EngineSnapshot now) =>
    [
        new(now.Merged?.LogitChange?.Tenant ?? 0, new KeyValuePair<string, object?>("rows", "tenant")),
        new(now.Merged?.LogitChange?.Others ?? 0, new KeyValuePair<string, object?>("rows", "others")),
    ];

    private Measurement<int> Merge(EngineSnapshot now) =>
        now.Merged is null ? new Measurement<int>(0, new KeyValuePair<string, object?>("adapter", "")) : new Measurement<int>(1, _labels.For(now.Merged.Id.Name));
}
