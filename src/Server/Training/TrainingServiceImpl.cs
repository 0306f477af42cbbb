using System.Globalization;
using Grpc.Core;
using InferenceServer.Engine.Errors;
using InferenceServer.Server.Grpc;
using InferenceServer.Server.Hosting;
using InferenceServer.Server.Uploads;
using InferenceServer.Training.Jobs;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Training;

/// <summary>Training jobs over gRPC.</summary>
public sealed partial class TrainingServiceImpl(
    ServingGate gate, RpcGuard guard, DataReceiver receiver, UploadSlots slots, IHostApplicationLifetime lifetime)
    : V1.TrainingService.TrainingServiceBase
{
    private const int MaxPageSize = 1000;

    public override Task<V1.TrainingJob> Start(IAsyncStreamReader<V1.StartTrainingRequest> requestStream, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            TrainingJobs jobs = gate.Current.Training;
            using IDisposable slot = slots.Take();
            TrainingSpec spec = TrainingSpecs.Read(await receiver.ReceiveSpecAsync(requestStream, token));
            spec.Check();
            using NewJob draft = jobs.Begin();
            await receiver.ReceiveDataAsync(requestStream, draft, token);
            return Describe(jobs, jobs.Add(draft, spec));
        });
    }

    public override Task Watch(
        V1.WatchTrainingRequest request, IServerStreamWriter<V1.TrainingEvent> responseStream, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            if (request.AfterEvent < 0)
            {
                throw new InvalidRequestException("after_event", $"{request.AfterEvent} is negative");
            }

            StoredJob job = gate.Current.Training.Get(request.Job);
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(token, lifetime.ApplicationStopping);
            try
            {
                await foreach (JobEvent happened in job.WatchAsync(request.AfterEvent, either.Token))
                {
                    await responseStream.WriteAsync(TrainingMessages.Write(happened), token);
                }
            }
            catch (OperationCanceledException) when (!token.IsCancellationRequested)
            {
                throw new NotServingException("the server is stopping");
            }
        });
    }

    public override Task<V1.ListTrainingJobsResponse> List(V1.ListTrainingJobsRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            TrainingJobs jobs = gate.Current.Training;
            int size = request.PageSize switch
            {
                < 0 => throw new InvalidRequestException("page_size", $"{request.PageSize} is negative"),
                0 => MaxPageSize,
                _ => Math.Min(request.PageSize, MaxPageSize),
            };

            // A place in this order stays one whatever comes and goes between two pages.
            IEnumerable<StoredJob> listed = jobs.List();
            if (request.PageToken.Length > 0)
            {
                (DateTimeOffset time, string id) = Place(request.PageToken);
                listed = listed.SkipWhile(
                    job => job.Current.CreatedAt > time || (job.Current.CreatedAt == time && string.CompareOrdinal(job.Id, id) >= 0));
            }

            StoredJob[] page = [.. listed.Take(size + 1)];
            V1.ListTrainingJobsResponse response = new();
            response.Jobs.Add(page.Take(size).Select(job => Describe(jobs, job)));
            response.NextPageToken = page.Length > size ? Token(page[size - 1]) : "";
            return Task.FromResult(response);
        });
    }

    public override Task<V1.TrainingJob> Get(V1.GetTrainingJobRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            TrainingJobs jobs = gate.Current.Training;
            return Task.FromResult(Describe(jobs, jobs.Get(request.Job)));
        });
    }

    public override Task<V1.TrainingJob> Cancel(V1.CancelTrainingRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            TrainingJobs jobs = gate.Current.Training;
            StoredJob job = jobs.Get(request.Job);
            await jobs.CancelAsync(job, token);
            return Describe(jobs, job);
        });
    }

    public override Task<V1.TrainingJob> Resume(V1.ResumeTrainingRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            TrainingJobs jobs = gate.Current.Training;
            StoredJob job = jobs.Get(request.Job);
            jobs.Resume(job);
            return Task.FromResult(Describe(jobs, job));
        });
    }

    public override Task<V1.DeleteTrainingJobResponse> Delete(V1.DeleteTrainingJobRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            TrainingJobs jobs = gate.Current.Training;
            return Task.FromResult(new V1.DeleteTrainingJobResponse { FreedBytes = jobs.Delete(jobs.Get(request.Job)) });
        });
    }

    public override Task<V1.EvaluateResponse> Evaluate(IAsyncStreamReader<V1.EvaluateRequest> requestStream, ServerCallContext context)
    {
        return guard.RunAsync(context, token => gate.Current.Evaluations.EvaluateAsync(requestStream, token));
    }

    public override Task DownloadAdapter(
        V1.DownloadAdapterRequest request, IServerStreamWriter<V1.FileChunk> responseStream, ServerCallContext context)
    {
        return guard.RunAsync(context, token => gate.Current.Downloads.SendAdapterAsync(request.Adapter, responseStream, token));
    }

    public override Task DownloadModel(
        V1.DownloadModelRequest request, IServerStreamWriter<V1.FileChunk> responseStream, ServerCallContext context)
    {
        return guard.RunAsync(context, token => gate.Current.Downloads.SendModelAsync(request, responseStream, token));
    }

    private static V1.TrainingJob Describe(TrainingJobs jobs, StoredJob job) => TrainingMessages.Write(job, jobs.QueuePosition(job));

    private static string Token(StoredJob job) =>
        string.Create(CultureInfo.InvariantCulture, $"{job.Current.CreatedAt.UtcTicks}/{job.Id}");

    private static (DateTimeOffset Time, string Id) Place(string token)
    {
        int slash = token.IndexOf('/', StringComparison.Ordinal);
        return slash > 0 && long.TryParse(token.AsSpan(0, slash), NumberStyles.None, CultureInfo.InvariantCulture, out long ticks)
            && ticks <= DateTimeOffset.MaxValue.UtcTicks
                ? (new DateTimeOffset(ticks, TimeSpan.Zero), token[(slash + 1)..])
                : throw new InvalidRequestException("page_token", "is not one that this server gave");
    }
}
