using System.IO.Pipelines;
using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client;

/// <content>The request half: one message, or a stream of them.</content>
internal sealed partial class HttpClientCall<TRequest, TResponse>
{
    private readonly TaskCompletionSource<PipeWriter> _requestPipe = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _requestEnd = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private MessageWriter? _writer;
    private bool _gzip;
    private int _writing;

    public WriteOptions? WriteOptions { get; set; } = options.WriteOptions;

    public Task WriteAsync(TRequest message) => WriteAsync(message, CancellationToken.None);

    public async Task WriteAsync(TRequest message, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (_requestEnd.Task.IsCompleted)
        {
            throw new InvalidOperationException("the request stream is complete");
        }

        if (Interlocked.Exchange(ref _writing, 1) == 1)
        {
            throw new InvalidOperationException("the previous write has not ended");
        }

        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
            static call => ((HttpClientCall<TRequest, TResponse>)call!).Cancel(), this);
        try
        {
            PipeWriter pipe = await _requestPipe.Task.ConfigureAwait(false);
            WriteFlags flags = WriteOptions?.Flags ?? default;
            _writer ??= new MessageWriter(pipe, channel.MaxSendMessageSize, _gzip);
            _writer.Write(method.RequestMarshaller, message, flags);
            if (!flags.HasFlag(WriteFlags.BufferHint))
            {
                await pipe.FlushAsync(_cancellation.Token).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or HttpRequestException or ObjectDisposedException)
        {
            throw await WriteFailureAsync(e).ConfigureAwait(false);
        }
        finally
        {
            Volatile.Write(ref _writing, 0);
        }
    }

    public Task CompleteAsync()
    {
        _requestEnd.TrySetResult();
        return Task.CompletedTask;
    }

    /// <summary>Why a request could not be written: a call that the server ended early says so in its status.</summary>
    private async Task<Exception> WriteFailureAsync(Exception exception)
    {
        if (_single is not null)
        {
            await ((Task)_single).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        return Volatile.Read(ref _outcome) switch
        {
            null => CallOutcome.FromException(exception).ToException(),
            { Status.StatusCode: StatusCode.OK } =>
                new InvalidOperationException("the call has ended; no more requests can be written", exception),
            { } ended => ended.ToException(),
        };
    }

    private async Task SendSingleAsync(Stream stream, TRequest request)
    {
        PipeWriter pipe = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
        new MessageWriter(pipe, channel.MaxSendMessageSize, _gzip).Write(method.RequestMarshaller, request, WriteOptions?.Flags ?? default);
        await pipe.CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>Lends the request stream to the writer until the requests are complete.</summary>
    private async Task PushAsync(Stream stream, CancellationToken cancellationToken)
    {
        // Sends the headers, so that the server may answer before the first request.
        await stream.FlushAsync(cancellationToken).ConfigureAwait(false);
        PipeWriter pipe = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
        _requestPipe.TrySetResult(pipe);
        await _requestEnd.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        await pipe.CompleteAsync().ConfigureAwait(false);
    }
}
