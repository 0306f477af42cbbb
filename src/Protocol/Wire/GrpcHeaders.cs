namespace Grpc.Wire;

/// <summary>The names and fixed values of the HTTP headers and trailers of gRPC.</summary>
internal static class GrpcHeaders
{
    public const string ContentType = "application/grpc";
    public const string Status = "grpc-status";
    public const string Message = "grpc-message";
    public const string Timeout = "grpc-timeout";
    public const string Encoding = "grpc-encoding";
    public const string AcceptEncoding = "grpc-accept-encoding";
    public const string Gzip = "gzip";
    public const string Identity = "identity";
    public const string AcceptedEncodings = "identity,gzip";

    /// <summary>What our client calls itself: <c>grpc-</c>, a name, a version.</summary>
    public static readonly string UserAgent = $"grpc-inferenceserver/{typeof(GrpcHeaders).Assembly.GetName().Version?.ToString(3)}";

    public static bool IsGrpcContentType(string? contentType) =>
        contentType is not null
        && contentType.StartsWith(ContentType, StringComparison.OrdinalIgnoreCase)
        && (contentType.Length == ContentType.Length || contentType[ContentType.Length] is '+' or ';');
}
