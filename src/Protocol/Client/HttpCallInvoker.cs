using Grpc.Core;

namespace Grpc.Net.Client;

/// <summary>Starts calls over an HTTP handler.</summary>
internal sealed class HttpCallInvoker(Uri address, HttpMessageInvoker http, GrpcChannelOptions channel) : CallInvoker
{
    public override TResponse BlockingUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        using AsyncUnaryCall<TResponse> call = AsyncUnaryCall(method, host, options, request);
        return call.ResponseAsync.GetAwaiter().GetResult();
    }

    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        HttpClientCall<TRequest, TResponse> call = Start(method, options, request);
        return new(call.ReadSingleAsync(), call.ResponseHeaders, call.GetStatus, call.GetTrailers, call.Dispose);
    }

    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        HttpClientCall<TRequest, TResponse> call = Start(method, options, request);
        return new(call, call.ResponseHeaders, call.GetStatus, call.GetTrailers, call.Dispose);
    }

    public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        HttpClientCall<TRequest, TResponse> call = Start(method, options, null);
        return new(call, call.ReadSingleAsync(), call.ResponseHeaders, call.GetStatus, call.GetTrailers, call.Dispose);
    }

    public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        HttpClientCall<TRequest, TResponse> call = Start(method, options, null);
        return new(call, call, call.ResponseHeaders, call.GetStatus, call.GetTrailers, call.Dispose);
    }

    private HttpClientCall<TRequest, TResponse> Start<TRequest, TResponse>(
        Method<TRequest, TResponse> method, CallOptions options, TRequest? request)
        where TRequest : class
        where TResponse : class
    {
        HttpClientCall<TRequest, TResponse> call = new(method, options, channel);
        call.Start(http, address, request);
        return call;
    }
}
