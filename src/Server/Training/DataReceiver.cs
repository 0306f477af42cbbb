using Grpc.Core;
using InferenceServer.Engine.Errors;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;
using InferenceServer.Training.Jobs;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Training;

/// <summary>Reads the stream of a job or an evaluation: its spec or header, then its data set. A client that says nothing for too long is given up.</summary>
public sealed class DataReceiver(IOptions<ServerOptions> server, TimeProvider time)
{
    private readonly TimeSpan _idle = TimeSpan.FromSeconds(server.Value.UploadIdleSeconds);

    /// <summary>Reads the first message, which has to be the spec.</summary>
    /// <exception cref="InvalidRequestException">It is something else, or nothing came.</exception>
    public async Task<Protocol.V1.TrainingSpec> ReceiveSpecAsync(
        IAsyncStreamReader<StartTrainingRequest> messages, CancellationToken cancellationToken)
    {
        return await MoveNextAsync(messages, cancellationToken) && messages.Current.PartCase == StartTrainingRequest.PartOneofCase.Spec
            ? messages.Current.Spec
            : throw new InvalidRequestException("spec", "the first message has to be the spec");
    }

    /// <summary>Reads the data set to the end of the stream.</summary>
    /// <exception cref="InvalidRequestException">A message is something else.</exception>
    public async Task ReceiveDataAsync(
        IAsyncStreamReader<StartTrainingRequest> messages, NewJob target, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(target);
        while (await MoveNextAsync(messages, cancellationToken))
        {
            if (messages.Current.PartCase != StartTrainingRequest.PartOneofCase.Data)
            {
                throw new InvalidRequestException("data", "after the spec only bytes of the data set may come");
            }

            target.Write(messages.Current.Data.Span);
        }
    }

    /// <summary>Reads the first message of an evaluation, which has to be the header.</summary>
    /// <exception cref="InvalidRequestException">It is something else, or nothing came.</exception>
    public async Task<EvaluateHeader> ReceiveHeaderAsync(IAsyncStreamReader<EvaluateRequest> messages, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return await MoveNextAsync(messages, cancellationToken) && messages.Current.PartCase == EvaluateRequest.PartOneofCase.Header
            ? messages.Current.Header
            : throw new InvalidRequestException("header", "the first message has to be the header");
    }

    /// <summary>Reads the data set of an evaluation to the end of the stream.</summary>
    /// <exception cref="InvalidRequestException">A message is something else.</exception>
    public async Task ReceiveDataAsync(
        IAsyncStreamReader<EvaluateRequest> messages, Action<ReadOnlyMemory<byte>> write, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ArgumentNullException.ThrowIfNull(write);
        while (await MoveNextAsync(messages, cancellationToken))
        {
            if (messages.Current.PartCase != EvaluateRequest.PartOneofCase.Data)
            {
                throw new InvalidRequestException("data", "after the header only bytes of the data set may come");
            }

            write(messages.Current.Data.Memory);
        }
    }

    private async Task<bool> MoveNextAsync<T>(IAsyncStreamReader<T> messages, CancellationToken cancellationToken)
    {
        using CancellationTokenSource idle = new(_idle, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(idle.Token, cancellationToken);
        try
        {
            return await messages.MoveNext(either.Token);
        }
        catch (OperationCanceledException) when (idle.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new InvalidRequestException("part", $"no message came for {_idle.TotalSeconds} s; the call is given up");
        }
    }
}
