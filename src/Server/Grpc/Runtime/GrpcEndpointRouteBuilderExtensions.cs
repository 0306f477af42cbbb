using Grpc.AspNetCore.Server;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps gRPC services to endpoints.</summary>
public static class GrpcEndpointRouteBuilderExtensions
{
    /// <summary>Maps every method of a service that derives from a generated base class, and UNIMPLEMENTED for unknown ones.</summary>
    /// <exception cref="InvalidOperationException"><c>AddGrpc</c> was not called, or the class has no generated base class.</exception>
    public static GrpcServiceEndpointConventionBuilder MapGrpcService<TService>(this IEndpointRouteBuilder builder)
        where TService : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        UnimplementedEndpoints unimplemented = builder.ServiceProvider.GetService<UnimplementedEndpoints>()
            ?? throw new InvalidOperationException("gRPC is not among the services: call services.AddGrpc()");
        EndpointBinder<TService> binder = new(builder);
        GeneratedService.Find(typeof(TService)).Bind.Invoke(null, [binder, null]);
        unimplemented.Map(builder);
        return new GrpcServiceEndpointConventionBuilder(binder.Endpoints);
    }
}
