using System.Reflection;
using Grpc.Core;
using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.Server;

/// <summary>Maps an endpoint for each method of a service, whose instance each call gets from the services.</summary>
internal sealed class EndpointBinder<TService>(IEndpointRouteBuilder endpoints) : ServiceBinderBase
    where TService : class
{
    private readonly GrpcServiceOptions _options = endpoints.ServiceProvider.GetRequiredService<IOptions<GrpcServiceOptions>>().Value;
    private readonly ILogger _logger = endpoints.ServiceProvider.GetRequiredService<ILogger<TService>>();
    private readonly ServiceActivator<TService> _activator = new();

    public List<IEndpointConventionBuilder> Endpoints { get; } = [];

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler)
    {
        MethodInfo own = Find(method, typeof(TRequest), typeof(ServerCallContext));
        var invoke = own.CreateDelegate<Func<TService, TRequest, ServerCallContext, Task<TResponse>>>();
        Map(method, own, async (service, call) =>
        {
            TRequest request = await call.ReadSingleAsync(method.RequestMarshaller);
            await WriteSingleAsync(call, method.ResponseMarshaller, await invoke(service, request, call));
        });
    }

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ClientStreamingServerMethod<TRequest, TResponse>? handler)
    {
        MethodInfo own = Find(method, typeof(IAsyncStreamReader<TRequest>), typeof(ServerCallContext));
        var invoke = own.CreateDelegate<Func<TService, IAsyncStreamReader<TRequest>, ServerCallContext, Task<TResponse>>>();
        Map(method, own, async (service, call) =>
        {
            RequestStream<TRequest> requests = new(call, method.RequestMarshaller);
            await WriteSingleAsync(call, method.ResponseMarshaller, await invoke(service, requests, call));
        });
    }

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler)
    {
        MethodInfo own = Find(method, typeof(TRequest), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext));
        var invoke = own.CreateDelegate<Func<TService, TRequest, IServerStreamWriter<TResponse>, ServerCallContext, Task>>();
        Map(method, own, async (service, call) =>
        {
            TRequest request = await call.ReadSingleAsync(method.RequestMarshaller);
            await invoke(service, request, new ResponseStream<TResponse>(call, method.ResponseMarshaller), call);
        });
    }

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TRequest, TResponse>? handler)
    {
        MethodInfo own = Find(
            method, typeof(IAsyncStreamReader<TRequest>), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext));
        var invoke = own.CreateDelegate<
            Func<TService, IAsyncStreamReader<TRequest>, IServerStreamWriter<TResponse>, ServerCallContext, Task>>();
        Map(method, own, (service, call) => invoke(
            service,
            new RequestStream<TRequest>(call, method.RequestMarshaller),
            new ResponseStream<TResponse>(call, method.ResponseMarshaller),
            call));
    }

    /// <summary>The one response leaves together with the status, so it is not flushed.</summary>
    private static ValueTask WriteSingleAsync<TResponse>(HttpServerCall call, Marshaller<TResponse> marshaller, TResponse response)
    {
        WriteFlags flags = call.WriteOptions?.Flags ?? default;
        return call.WriteAsync(marshaller, response, flags | WriteFlags.BufferHint, CancellationToken.None);
    }

    /// <summary>The service's own method, or the one of its generated base class, which answers UNIMPLEMENTED.</summary>
    private static MethodInfo Find(IMethod method, params Type[] parameters) =>
        typeof(TService).GetMethod(method.Name, parameters)
        ?? throw new InvalidOperationException($"{typeof(TService)} has no public method {method.Name} for {method.FullName}");

    private void Map(IMethod method, MethodInfo own, Func<TService, HttpServerCall, Task> serve)
    {
        Task UseAsync(HttpServerCall call) => _activator.UseAsync(call, serve);

        Endpoints.Add(endpoints
            .MapPost(method.FullName, http => HttpServerCall.RunAsync(http, method, _options, _logger, UseAsync))
            .WithDisplayName($"gRPC - {method.FullName}")
            .WithMetadata([
                new GrpcMethodMetadata(typeof(TService), method),
                .. typeof(TService).GetCustomAttributes(inherit: true),
                .. own.GetCustomAttributes(inherit: true),
            ]));
    }
}
