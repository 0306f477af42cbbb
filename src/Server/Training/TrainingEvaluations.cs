using System.Diagnostics;
using Grpc.Core;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine.Errors;
using InferenceServer.Models;
using InferenceServer.Server.Devices;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Training;
using InferenceServer.Training.Data;
using InferenceServer.Training.Evaluation;
using InferenceServer.Training.Jobs;
using InferenceServer.Training.Runs;
using Microsoft.Extensions.Options;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Training;

/// <summary>
/// Judges the base or a served adapter by a client's data set: one at a time, beside serving, with threads and activations of its own over the
/// weights that serve.
/// </summary>
public sealed class TrainingEvaluations(
    LanguageModel model,
    AdapterCatalog catalog,
    AdapterCache cache,
    DataReceiver receiver,
    IOptions<ServerOptions> server,
    IOptions<TrainingServerOptions> options,
    IComputePlatform platform,
    ILogger<TrainingEvaluations> log) : IDisposable
{
    private const int MaxAtOnce = 4;
    private const int MaxExamples = 100;
    private const int DefaultAnswerTokens = 64;

    // A message to the client holds at most 4 MiB.
    private const int MaxTextLength = 2048;

    private readonly SideWork _work = new("evaluations", MaxAtOnce);

    /// <summary>Does a whole call.</summary>
    /// <exception cref="InvalidRequestException">A field is wrong.</exception>
    /// <exception cref="DatasetException">The data is no data set; names line and field.</exception>
    public async Task<V1.EvaluateResponse> EvaluateAsync(
        IAsyncStreamReader<V1.EvaluateRequest> messages, CancellationToken cancellation)
    {
        using IDisposable place = _work.Enter();
        V1.EvaluateHeader header = await receiver.ReceiveHeaderAsync(messages, cancellation);
        DataSpec data = Check(header);
        AdapterRecord? record = header.Adapter.Length > 0 ? catalog.Get(header.Adapter) : null;
        using StagedFolder staged = new(server.Value.Data);
        await receiver.ReceiveDataAsync(messages, bytes => staged.Write(bytes.Span, options.Value.MaxDataBytes), cancellation);
        staged.EndData();
        using AdapterLease lease = record is null ? default : await cache.AcquireAsync(record.Id, cancellation);
        DeviceAdapter? adapter = record is null ? null : lease.Adapter;
        return await _work.RunAsync(token => Judge(header, data, staged.DataPath, adapter, token), cancellation);
    }

    /// <summary>Stops what runs and waits for it: it computes with the model's memory.</summary>
    internal void Stop() => _work.Stop();

    public void Dispose() => _work.Dispose();

    private static DataSpec Check(V1.EvaluateHeader header)
    {
        if (header.ExactMatchSamples < -1)
        {
            throw new InvalidRequestException("exact_match_samples", $"{header.ExactMatchSamples} is neither -1 for all nor at least 0");
        }

        if (header.ExactMatchTokens < 0)
        {
            throw new InvalidRequestException("exact_match_tokens", $"{header.ExactMatchTokens} is negative");
        }

        if (header.MaxExamples is < 0 or > MaxExamples)
        {
            throw new InvalidRequestException("max_examples", $"{header.MaxExamples} is not from 0 to {MaxExamples}");
        }

        DataSpec data = TrainingSpecs.ReadData(header.Data ?? new V1.DataSettings());
        data.Check();
        return header.Data is { HasHeldOutShare: true } ? data : data with { HeldOutShare = 0 };
    }

    private V1.EvaluateResponse Judge(V1.EvaluateHeader header, DataSpec data, string path, DeviceAdapter? adapter, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        Dataset all = data.Read(path, model);
        Dataset judged = data.HeldOutShare > 0 ? data.Split(all).HeldOut : all;
        (IComputeBackend backend, ITrainingBackend operations) = platform.CreateTraining(options.Value.ThreadCount, beforeOperation: null);
        using IDisposable first = backend;
        using IDisposable second = operations;
        string subject = adapter?.Label ?? "the base";
        try
        {
            EvaluationResult loss = MeasureLoss(judged, adapter, backend, operations, cancellation);
            V1.EvaluateResponse response = new() { Loss = loss.Loss, Perplexity = loss.Perplexity, Tokens = loss.LabelCount };
            if (header.ExactMatchSamples != 0)
            {
                AddMatches(Ask(header, judged, adapter, backend, cancellation), response);
            }

            TrainingLog.Evaluated(log, subject, judged.Samples.Count, loss.Loss, Stopwatch.GetElapsedTime(start).TotalSeconds);
            return response;
        }
        catch (TrainingFailedException error)
        {
            throw new FailedPreconditionException($"{subject} cannot be judged: {error.Message}");
        }
    }

    private EvaluationResult MeasureLoss(
        Dataset judged, DeviceAdapter? adapter, IComputeBackend backend, ITrainingBackend operations, CancellationToken cancellation)
    {
        using AdapterEvaluation evaluation = new(model.Transformer, backend, operations);
        return evaluation.Measure(judged.Samples, adapter, cancellation);
    }

    private ExactMatchResult Ask(
        V1.EvaluateHeader header, Dataset judged, DeviceAdapter? adapter, IComputeBackend backend, CancellationToken cancellation)
    {
        using GreedyGenerator generator = new(model.Transformer, backend, model.Defaults.EosTokenIds);
        ExactMatchOptions asked = new()
        {
            MaxQuestions = header.ExactMatchSamples < 0 ? null : header.ExactMatchSamples,
            MaxTokens = header.ExactMatchTokens == 0 ? DefaultAnswerTokens : header.ExactMatchTokens,
            MaxExamples = header.MaxExamples,
        };
        return ExactMatch.Measure(generator, model.Tokenizer!, judged.Questions, asked, adapter, cancellation);
    }

    private static void AddMatches(ExactMatchResult match, V1.EvaluateResponse response)
    {
        response.ExactMatch = new V1.ExactMatch { Right = match.Right, Total = match.Total };
        response.Wrong.Add(match.Wrong.Select(wrong => new V1.WrongAnswer
        {
            Line = wrong.Line,
            Prompt = Shown(wrong.Prompt),
            Expected = Shown(wrong.Expected),
            Answer = Shown(wrong.Answer),
        }));
    }

    // The cut may not part a surrogate pair, which no message can hold.
    private static string Shown(string text) => text.Length <= MaxTextLength
        ? text
        : string.Concat(text.AsSpan(0, char.IsHighSurrogate(text[MaxTextLength - 1]) ? MaxTextLength - 1 : MaxTextLength), "...");
}
