namespace Grpc.AspNetCore.Server;

/// <summary>What the gRPC runtime logs.</summary>
internal static partial class GrpcRuntimeLog
{
    [LoggerMessage(Level = LogLevel.Error, Message = "gRPC method {Method} failed")]
    public static partial void MethodFailed(this ILogger logger, Exception exception, string method);
}
