using System.Runtime.CompilerServices;
using Google.Protobuf;
using Grpc.Core;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <summary>
/// The training jobs of a server: each trains one adapter (or every weight) on a data set and publishes it. A job is named by its id and
/// outlives this client. Every method throws <see cref="InferenceException"/> when the server refuses or fails the call.
/// </summary>
public sealed partial class TrainingClient
{
    private const int ChunkBytes = 256 * 1024;

    private readonly TrainingService.TrainingServiceClient _service;
    private readonly InferenceClientOptions _options;

    internal TrainingClient(TrainingService.TrainingServiceClient service, InferenceClientOptions options)
    {
        _service = service;
        _options = options;
    }

    /// <summary>
    /// Starts a job on the JSON lines of a file. Returns once the job is durable and its config and data are checked; it then waits for its
    /// turn or runs.
    /// </summary>
    /// <param name="spec">What to train; <see cref="TrainingMethod.CreateSpec"/> makes one. Without a name of the data the file's is used.</param>
    /// <param name="dataFile">Lines of {"prompt", "completion"}, {"messages"} or {"text"}.</param>
    /// <param name="cancellationToken">Ends the upload; the server keeps nothing of it.</param>
    /// <exception cref="InferenceException">
    /// <see cref="StatusCode.InvalidArgument"/> names file, line, field, value and limit; <see cref="StatusCode.ResourceExhausted"/> means a
    /// full queue or disk.
    /// </exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public async Task<TrainingJob> StartAsync(TrainingSpec spec, string dataFile, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(dataFile);
        TrainingSpec named = spec.Clone();
        named.Data ??= new DataSettings();
        if (named.Data.Name.Length == 0)
        {
            named.Data.Name = Path.GetFileName(dataFile);
        }

        FileStream content = File.OpenRead(dataFile);
        await using (content.ConfigureAwait(false))
        {
            return await StartAsync(named, content, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>As <see cref="StartAsync(TrainingSpec, string, CancellationToken)"/>, with the data set's bytes from a stream.</summary>
    public async Task<TrainingJob> StartAsync(TrainingSpec spec, Stream data, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(data);
        using AsyncClientStreamingCall<StartTrainingRequest, TrainingJob> call =
            _service.Start(headers: null, deadline: null, cancellationToken);
        try
        {
            IClientStreamWriter<StartTrainingRequest> stream = call.RequestStream;
            await stream.WriteAsync(new StartTrainingRequest { Spec = spec }, cancellationToken).ConfigureAwait(false);
            byte[] buffer = new byte[ChunkBytes];
            int read;
            while ((read = await data.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
            {
                // A write returns once the message is serialised, so that the buffer can be used again.
                StartTrainingRequest piece = new() { Data = UnsafeByteOperations.UnsafeWrap(buffer.AsMemory(0, read)) };
                await stream.WriteAsync(piece, cancellationToken).ConfigureAwait(false);
            }

            await stream.CompleteAsync().ConfigureAwait(false);
            return await call.ResponseAsync.ConfigureAwait(false);
        }
        catch (RpcException error)
        {
            throw CallErrors.Translate(error, cancellationToken);
        }
    }

    /// <summary>
    /// Everything that happened in a job from an event on, then what happens, until the job is at rest. A cut connection, a restart of the
    /// server too, is taken up again after the last event that came, so that each comes once and in order; when the server cannot be
    /// reached for <see cref="InferenceClientOptions.WatchPatience"/> it is given up. Leaving the loop early leaves the job alone.
    /// </summary>
    /// <param name="job">The job's id.</param>
    /// <param name="afterEvent">Number of the last event known; 0 for all.</param>
    /// <param name="cancellationToken">Stops watching; the job goes on.</param>
    public async IAsyncEnumerable<TrainingEvent> WatchAsync(
        string job, long afterEvent = 0, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(job);
        long last = afterEvent;
        Reconnection reconnection = new(_options.WatchPatience);
        while (true)
        {
            using AsyncServerStreamingCall<TrainingEvent> call = _service.Watch(
                new WatchTrainingRequest { Job = job, AfterEvent = last }, headers: null, deadline: null, cancellationToken);
            RpcException? cut = null;
            while (true)
            {
                try
                {
                    if (!await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false))
                    {
                        break;
                    }
                }
                catch (RpcException error) when (reconnection.IsCut(error) && !cancellationToken.IsCancellationRequested)
                {
                    cut = error;
                    break;
                }
                catch (RpcException error)
                {
                    throw CallErrors.Translate(error, cancellationToken);
                }

                reconnection.Succeeded();
                TrainingEvent happened = call.ResponseStream.Current;
                if (happened.Number > last)
                {
                    last = happened.Number;
                    yield return happened;
                }
            }

            if (cut is null)
            {
                yield break;
            }

            if (!await reconnection.WaitAsync(cancellationToken).ConfigureAwait(false))
            {
                throw CallErrors.Translate(cut, cancellationToken);
            }
        }
    }

    /// <summary>The jobs, latest first.</summary>
    public async IAsyncEnumerable<TrainingJob> ListAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ListTrainingJobsRequest request = new() { PageSize = 100 };
        do
        {
            ListTrainingJobsResponse page = await CallAsync(
                _service.ListAsync(request, headers: null, Deadline(), cancellationToken), cancellationToken).ConfigureAwait(false);
            foreach (TrainingJob job in page.Jobs)
            {
                yield return job;
            }

            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
    }

    /// <summary>How a job stands.</summary>
    public Task<TrainingJob> GetAsync(string job, CancellationToken cancellationToken = default)
    {
        return CallAsync(
            _service.GetAsync(new GetTrainingJobRequest { Job = job }, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    /// <summary>Stops a job after the step at hand and keeps a checkpoint; a waiting job leaves the queue.</summary>
    public Task<TrainingJob> CancelAsync(string job, CancellationToken cancellationToken = default)
    {
        return CallAsync(
            _service.CancelAsync(new CancelTrainingRequest { Job = job }, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    /// <summary>Puts a cancelled, failed or interrupted job back into the queue; it goes on from its last checkpoint, bit for bit.</summary>
    public Task<TrainingJob> ResumeAsync(string job, CancellationToken cancellationToken = default)
    {
        return CallAsync(
            _service.ResumeAsync(new ResumeTrainingRequest { Job = job }, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    /// <summary>Removes a job that is at rest, with its checkpoints. Adapters that it published stay.</summary>
    public Task<DeleteTrainingJobResponse> DeleteAsync(string job, CancellationToken cancellationToken = default)
    {
        return CallAsync(
            _service.DeleteAsync(new DeleteTrainingJobRequest { Job = job }, headers: null, Deadline(), cancellationToken),
            cancellationToken);
    }

    private static async Task<TResponse> CallAsync<TResponse>(AsyncUnaryCall<TResponse> call, CancellationToken cancellationToken)
    {
        using (call)
        {
            try
            {
                return await call.ResponseAsync.ConfigureAwait(false);
            }
            catch (RpcException error)
            {
                throw CallErrors.Translate(error, cancellationToken);
            }
        }
    }

    private DateTime? Deadline()
    {
        return DateTime.UtcNow + _options.Timeout;
    }
}
