using Grpc.Core;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <content>Trained things as files of this machine.</content>
public sealed partial class TrainingClient
{
    /// <summary>Downloads an adapter in PEFT's format; uploaded again it has the same digest.</summary>
    /// <param name="adapter">"name" for its current version, or "name@digest".</param>
    /// <param name="folder">Made when it is missing; files of the same name are replaced once their new content is whole.</param>
    /// <param name="progress">Told after each received piece.</param>
    /// <param name="cancellationToken">Ends the download; no half file stays.</param>
    /// <returns>The names of the files.</returns>
    /// <exception cref="InferenceException"><see cref="StatusCode.NotFound"/>: there is no such adapter.</exception>
    /// <exception cref="InvalidDataException">A file did not come as it was announced.</exception>
    public Task<IReadOnlyList<string>> DownloadAdapterAsync(
        string adapter, string folder, IProgress<DownloadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(folder);
        AsyncServerStreamingCall<FileChunk> call = _service.DownloadAdapter(
            new DownloadAdapterRequest { Adapter = adapter }, headers: null, deadline: null, cancellationToken);
        return ReceiveAsync(call, folder, progress, cancellationToken);
    }

    /// <summary>
    /// Downloads the base with an adapter folded in as a Hugging Face folder: weights, config, tokenizer and chat template, all that another
    /// server or library needs.
    /// </summary>
    /// <param name="adapter">"name" for its current version, or "name@digest".</param>
    /// <param name="folder">Made when it is missing; files of the same name are replaced once their new content is whole.</param>
    /// <param name="singlePrecision">
    /// Weights in f32, as exact as serving; else each keeps the type that the base's file has, and what the adapter changes is rounded to it.
    /// </param>
    /// <param name="progress">Told after each received piece.</param>
    /// <param name="cancellationToken">Ends the download; no half file stays.</param>
    /// <returns>The names of the files.</returns>
    /// <exception cref="InferenceException">
    /// <see cref="StatusCode.FailedPrecondition"/>: the adapter cannot be folded, the message says why; <see cref="StatusCode.NotFound"/>.
    /// </exception>
    /// <exception cref="InvalidDataException">A file did not come as it was announced.</exception>
    public Task<IReadOnlyList<string>> DownloadMergedModelAsync(
        string adapter,
        string folder,
        bool singlePrecision = false,
        IProgress<DownloadProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(adapter);
        return DownloadModelAsync(
            new DownloadModelRequest { Adapter = adapter, SinglePrecision = singlePrecision }, folder, progress, cancellationToken);
    }

    /// <summary>Downloads the model of a finished job of full fine-tuning as a Hugging Face folder, its weights in f32.</summary>
    /// <param name="job">The job's id.</param>
    /// <param name="folder">Made when it is missing; files of the same name are replaced once their new content is whole.</param>
    /// <param name="progress">Told after each received piece.</param>
    /// <param name="cancellationToken">Ends the download; no half file stays.</param>
    /// <returns>The names of the files.</returns>
    /// <exception cref="InferenceException">
    /// <see cref="StatusCode.FailedPrecondition"/>: the job is not finished, or trained an adapter; <see cref="StatusCode.NotFound"/>.
    /// </exception>
    /// <exception cref="InvalidDataException">A file did not come as it was announced.</exception>
    public Task<IReadOnlyList<string>> DownloadTrainedModelAsync(
        string job, string folder, IProgress<DownloadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(job);
        return DownloadModelAsync(new DownloadModelRequest { Job = job }, folder, progress, cancellationToken);
    }

    private Task<IReadOnlyList<string>> DownloadModelAsync(
        DownloadModelRequest request, string folder, IProgress<DownloadProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return ReceiveAsync(_service.DownloadModel(request, headers: null, deadline: null, cancellationToken), folder, progress, cancellationToken);
    }

    private static async Task<IReadOnlyList<string>> ReceiveAsync(
        AsyncServerStreamingCall<FileChunk> call, string folder, IProgress<DownloadProgress>? progress, CancellationToken cancellationToken)
    {
        List<string> names = [];
        ReceivedFile? current = null;
        try
        {
            using (call)
            {
                while (await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false))
                {
                    FileChunk message = call.ResponseStream.Current;
                    switch (message.PartCase)
                    {
                        case FileChunk.PartOneofCase.File:
                            await CompleteAsync(current).ConfigureAwait(false);
                            current = ReceivedFile.Open(folder, message.File);
                            names.Add(message.File.Name);
                            break;
                        case FileChunk.PartOneofCase.Data when current is not null:
                            await current.WriteAsync(message.Data.Memory, cancellationToken).ConfigureAwait(false);
                            break;
                        default:
                            throw new InvalidDataException("the server sent bytes of no file");
                    }

                    progress?.Report(current.Progress);
                }
            }

            await CompleteAsync(current).ConfigureAwait(false);
            current = null;
            return names;
        }
        catch (RpcException error)
        {
            throw CallErrors.Translate(error, cancellationToken);
        }
        finally
        {
            if (current is not null)
            {
                await current.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    private static async Task CompleteAsync(ReceivedFile? file)
    {
        if (file is not null)
        {
            await using (file.ConfigureAwait(false))
            {
                await file.CompleteAsync().ConfigureAwait(false);
            }
        }
    }
}
