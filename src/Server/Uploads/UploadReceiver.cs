using Grpc.Core;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Engine.Errors;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Uploads;

/// <summary>
/// Passes an upload's stream on to the catalog while checking its order, sizes and hashes. Whatever goes wrong, also a client that goes
/// away, disposes the catalog's upload, which leaves no trace.
/// </summary>
public sealed class UploadReceiver(UploadLimits limits, TimeProvider time)
{
    private const string NameField = "file.name";

    /// <summary>Reads the first message, which has to be the header.</summary>
    /// <exception cref="InvalidRequestException">It is something else, or nothing came.</exception>
    public async Task<UploadHeader> ReceiveHeaderAsync(IAsyncStreamReader<UploadRequest> messages, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return await MoveNextAsync(messages, cancellationToken) && messages.Current.PartCase == UploadRequest.PartOneofCase.Header
            ? messages.Current.Header
            : throw new InvalidRequestException("header", "the first message of an upload has to be the header");
    }

    /// <summary>Reads the files that follow the header into <paramref name="target"/>, to the end of the stream.</summary>
    /// <exception cref="InvalidRequestException">Names the message or field that is wrong.</exception>
    /// <exception cref="CapacityExceededException">A file is announced larger than allowed.</exception>
    public async Task ReceiveFilesAsync(
        IAsyncStreamReader<UploadRequest> messages, AdapterUpload target, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        HashSet<string> names = new(StringComparer.Ordinal);
        AnnouncedFile? current = null;
        try
        {
            while (await MoveNextAsync(messages, cancellationToken))
            {
                UploadRequest message = messages.Current;
                switch (message.PartCase)
                {
                    case UploadRequest.PartOneofCase.File:
                        current?.Complete();
                        current?.Dispose();
                        current = Open(message.File, names);
                        break;
                    case UploadRequest.PartOneofCase.Data when current is not null:
                        current.Write(message.Data.Span, target);
                        break;
                    case UploadRequest.PartOneofCase.Data:
                        throw new InvalidRequestException("data", "comes before the start of a file");
                    case UploadRequest.PartOneofCase.Header:
                        throw new InvalidRequestException("header", "comes a second time");
                    default:
                        throw new InvalidRequestException("part", "a message of the upload has none");
                }
            }

            current?.Complete();
        }
        finally
        {
            current?.Dispose();
        }

        foreach (string needed in (string[])[PeftImporter.ConfigFileName, PeftImporter.WeightsFileName])
        {
            if (!names.Contains(needed))
            {
                throw new InvalidRequestException(NameField, $"the upload has no {needed}");
            }
        }
    }

    private AnnouncedFile Open(FileStart start, HashSet<string> names)
    {
        (AdapterFilePart part, long limit) = start.Name switch
        {
            PeftImporter.ConfigFileName => (AdapterFilePart.Config, limits.MaxConfigBytes),
            PeftImporter.WeightsFileName => (AdapterFilePart.Weights, limits.MaxWeightBytes),
            _ => throw new InvalidRequestException(
                NameField, $"'{Shown(start.Name)}' is neither {PeftImporter.ConfigFileName} nor {PeftImporter.WeightsFileName}"),
        };
        return names.Add(start.Name)
            ? AnnouncedFile.Open(start, part, limit)
            : throw new InvalidRequestException(NameField, $"{start.Name} comes a second time");
    }

    /// <summary>The next message; a client that says nothing for too long is given up.</summary>
    private async Task<bool> MoveNextAsync(IAsyncStreamReader<UploadRequest> messages, CancellationToken cancellationToken)
    {
        using CancellationTokenSource idle = new(limits.IdleTimeout, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(idle.Token, cancellationToken);
        try
        {
            return await messages.MoveNext(either.Token);
        }
        catch (OperationCanceledException) when (idle.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new InvalidRequestException("part", $"no message came for {limits.IdleTimeout.TotalSeconds} s; the upload is given up");
        }
    }

    /// <summary>A client's text, short and without control characters.</summary>
    private static string Shown(string text)
    {
        const int Most = 80;
        string shown = new([.. text.Take(Most).Select(c => char.IsControl(c) || char.IsSurrogate(c) ? '?' : c)]);
        return text.Length > Most ? shown + "..." : shown;
    }
}
