namespace Grpc.AspNetCore.Server;

/// <summary>What <c>AddGrpc</c> returns; an interface only because the packages of this namespace have one.</summary>
public interface IGrpcServerBuilder
{
    IServiceCollection Services { get; }
}
