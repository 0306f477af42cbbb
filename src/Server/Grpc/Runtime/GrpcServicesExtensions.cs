using Grpc.AspNetCore.Server;
using Grpc.Wire;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds gRPC to the host's services.</summary>
/// <remarks>
/// Does: the four kinds of call over HTTP/2 with and without TLS, deadlines, cancellation, message limits, gzip, headers and trailers,
/// <c>-bin</c> metadata, 415 and 426 for what is no gRPC, UNIMPLEMENTED for what is not mapped, UNAVAILABLE for calls in flight when the
/// host stops. The call is left on <c>HttpContext.Features.Get&lt;ServerCallContext&gt;()</c> for middleware that counts statuses.
/// Not there: interceptors, compression other than gzip, options per service, AuthContext, gRPC-Web, JSON transcoding. A deadline cancels
/// the method's token; a method that ignores it ends late. Services are bound by reflection (not checked under trimming or native AOT).
/// </remarks>
public static class GrpcServicesExtensions
{
    public static IGrpcServerBuilder AddGrpc(this IServiceCollection services)
    {
        services.AddRouting(options => options.SetParameterPolicy<GrpcContentTypeConstraint>(GrpcContentTypeConstraint.Name));
        services.AddOptions<GrpcServiceOptions>()
            .Validate(
                options => options.ResponseCompressionAlgorithm is null or GrpcHeaders.Identity or GrpcHeaders.Gzip,
                $"{nameof(GrpcServiceOptions.ResponseCompressionAlgorithm)} is neither {GrpcHeaders.Gzip} nor {GrpcHeaders.Identity}")
            .Validate(
                options => options.ShutdownDrain >= TimeSpan.Zero,
                $"{nameof(GrpcServiceOptions.ShutdownDrain)} is negative")
            .ValidateOnStart();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<GrpcShutdown>();
        services.TryAddSingleton<UnimplementedEndpoints>();
        return new GrpcServerBuilder(services);
    }

    public static IGrpcServerBuilder AddGrpc(this IServiceCollection services, Action<GrpcServiceOptions> configureOptions)
    {
        services.Configure(configureOptions);
        return services.AddGrpc();
    }

    private sealed class GrpcServerBuilder(IServiceCollection services) : IGrpcServerBuilder
    {
        public IServiceCollection Services { get; } = services;
    }
}
