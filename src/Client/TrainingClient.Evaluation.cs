using Google.Protobuf;
using Grpc.Core;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <content>How good the base or an adapter is.</content>
public sealed partial class TrainingClient
{
    /// <summary>
    /// Judges the base or an adapter by the JSON lines of a file: loss and perplexity over what is labelled in them, and how many of their
    /// prompts are answered exactly as they say. Serving goes first, so it may take long.
    /// </summary>
    /// <param name="header">The adapter and what is asked. Without a name of the data the file's is used.</param>
    /// <param name="dataFile">Lines of {"prompt", "completion"}, {"messages"} or {"text"}.</param>
    /// <param name="cancellationToken">Ends the evaluation.</param>
    /// <exception cref="InferenceException">
    /// <see cref="StatusCode.InvalidArgument"/> names file, line, field, value and limit; <see cref="StatusCode.NotFound"/>: there is no
    /// such adapter; <see cref="StatusCode.ResourceExhausted"/>: the data is too large, or too many evaluations are running.
    /// </exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public async Task<EvaluateResponse> EvaluateAsync(EvaluateHeader header, string dataFile, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(header);
        ArgumentNullException.ThrowIfNull(dataFile);
        EvaluateHeader named = header.Clone();
        named.Data ??= new DataSettings();
        if (named.Data.Name.Length == 0)
        {
            named.Data.Name = Path.GetFileName(dataFile);
        }

        FileStream content = File.OpenRead(dataFile);
        await using (content.ConfigureAwait(false))
        {
            return await EvaluateAsync(named, content, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>As <see cref="EvaluateAsync(EvaluateHeader, string, CancellationToken)"/>, with the data set's bytes from a stream.</summary>
    public async Task<EvaluateResponse> EvaluateAsync(EvaluateHeader header, Stream data, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(header);
        ArgumentNullException.ThrowIfNull(data);
        using AsyncClientStreamingCall<EvaluateRequest, EvaluateResponse> call =
            _service.Evaluate(headers: null, deadline: null, cancellationToken);
        try
        {
            IClientStreamWriter<EvaluateRequest> stream = call.RequestStream;
            await stream.WriteAsync(new EvaluateRequest { Header = header }, cancellationToken).ConfigureAwait(false);
            byte[] buffer = new byte[ChunkBytes];
            int read;
            while ((read = await data.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
            {
                // A write returns once the message is serialised, so that the buffer can be used again.
                EvaluateRequest piece = new() { Data = UnsafeByteOperations.UnsafeWrap(buffer.AsMemory(0, read)) };
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
}
