using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client;

/// <summary>How a call ended, as the client reads it from the response or from what went wrong on the way.</summary>
internal sealed record CallOutcome(Status Status, Metadata Trailers)
{
    public RpcException ToException() => new(Status, Trailers);

    /// <summary>The outcome in the trailers, or in the headers of a trailers-only response.</summary>
    public static CallOutcome Read(HttpResponseMessage response)
    {
        HttpResponseHeaders source = response.Headers.Contains(GrpcHeaders.Status) ? response.Headers : response.TrailingHeaders;
        string? text = Header(source, GrpcHeaders.Status);
        if (text is null)
        {
            return new(new Status(StatusCode.Internal, "the response ended without a status"), ToMetadata(source));
        }

        // A code that this version does not know is UNKNOWN, as is one that is no number.
        StatusCode code = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && number <= (int)StatusCode.Unauthenticated ? (StatusCode)number : StatusCode.Unknown;
        return new(new Status(code, PercentEncoding.Decode(Header(source, GrpcHeaders.Message) ?? "")), ToMetadata(source));
    }

    /// <summary>The outcome of a response that is no gRPC response, or null when it is one.</summary>
    public static CallOutcome? ReadForeign(HttpResponseMessage response)
    {
        MediaTypeHeaderValue? type = response.Content.Headers.ContentType;
        if (response.StatusCode == HttpStatusCode.OK && GrpcHeaders.IsGrpcContentType(type?.MediaType))
        {
            return null;
        }

        return response.Headers.Contains(GrpcHeaders.Status)
            ? Read(response)
            : new(
                new Status(
                    FromHttpStatus((int)response.StatusCode),
                    $"the server answered HTTP {(int)response.StatusCode} with {type?.ToString() ?? "no content type"}"),
                Metadata.Empty);
    }

    /// <summary>The outcome of a call that failed on this side or on the way.</summary>
    public static CallOutcome FromException(Exception exception)
    {
        if (exception is RpcException rpc)
        {
            return new(rpc.Status, rpc.Trailers);
        }

        // The error codes of HTTP/2, as gRPC maps them.
        HttpProtocolException? protocol = exception as HttpProtocolException ?? exception.InnerException as HttpProtocolException;
        (StatusCode code, string detail) = (exception, protocol?.ErrorCode) switch
        {
            (OperationCanceledException, _) or (_, 0x8) => (StatusCode.Cancelled, "the call was cancelled"),
            (_, 0x7) => (StatusCode.Unavailable, "the server refused the call"),
            (_, 0xb) => (StatusCode.ResourceExhausted, exception.Message),
            (_, 0xc) => (StatusCode.PermissionDenied, exception.Message),
            (_, not null) => (StatusCode.Internal, exception.Message),
            (HttpRequestException or IOException, _) => (StatusCode.Unavailable, exception.Message),
            (ObjectDisposedException, _) => (StatusCode.Cancelled, "the call was disposed"),
            _ => (StatusCode.Internal, exception.Message),
        };
        return new(new Status(code, detail, exception), Metadata.Empty);
    }

    public static string? Header(HttpResponseHeaders headers, string name) =>
        headers.NonValidated.TryGetValues(name, out HeaderStringValues values) ? values.ToString() : null;

    public static Metadata ToMetadata(HttpResponseHeaders headers)
    {
        Metadata metadata = [];
        foreach ((string name, HeaderStringValues values) in headers.NonValidated)
        {
            foreach (string value in values)
            {
                WireMetadata.AddTo(metadata, name, value);
            }
        }

        return metadata;
    }

    private static StatusCode FromHttpStatus(int httpStatus) => httpStatus switch
    {
        400 => StatusCode.Internal,
        401 => StatusCode.Unauthenticated,
        403 => StatusCode.PermissionDenied,
        404 => StatusCode.Unimplemented,
        429 or 502 or 503 or 504 => StatusCode.Unavailable,
        _ => StatusCode.Unknown,
    };
}
