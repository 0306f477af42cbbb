using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;

namespace Grpc.AspNetCore.Server;

/// <summary>Answers gRPC calls that no service is mapped for with UNIMPLEMENTED, as gRPC clients expect it.</summary>
internal sealed class UnimplementedEndpoints
{
    private static readonly Method<object, object> s_unknown = new(MethodType.Unary, "unknown", "unknown", null!, null!);
    private static readonly GrpcServiceOptions s_options = new();
    private bool _mapped;

    /// <summary>Maps them once, however many services are mapped.</summary>
    public void Map(IEndpointRouteBuilder endpoints)
    {
        if (_mapped)
        {
            return;
        }

        _mapped = true;
        endpoints
            .MapPost(
                $"{{service}}/{{method:{GrpcContentTypeConstraint.Name}}}",
                http => HttpServerCall.RunAsync(http, s_unknown, s_options, NullLogger.Instance, Refuse))
            .WithDisplayName("gRPC - unimplemented")
            .WithOrder(int.MaxValue);
    }

    private static Task Refuse(HttpServerCall call) =>
        throw new RpcException(new Status(StatusCode.Unimplemented, $"there is no method {call.HttpContext.Request.Path}"));
}
