using Grpc.Core;

namespace Grpc.Net.Client;

/// <summary>
/// Connections to one server, shared by the clients made from it: HTTP/2 with TLS (<c>https://</c>) or without (<c>http://</c>, prior
/// knowledge).
/// </summary>
/// <remarks>
/// Does: the four kinds of call, headers and trailers, <c>-bin</c> metadata, deadlines, cancellation, message limits, gzip (of requests
/// when the call's headers hold <c>grpc-internal-encoding-request: gzip</c>).
/// Not there: interceptors, retries and hedging, load balancing and name resolution beyond the handler's, service config, call
/// credentials, WithHost, wait-for-ready.
/// </remarks>
public sealed class GrpcChannel : ChannelBase, IDisposable
{
    private readonly GrpcChannelOptions _options;
    private readonly HttpMessageInvoker _http;

    private GrpcChannel(Uri address, GrpcChannelOptions options)
        : base(address.Authority)
    {
        Address = address;
        _options = options;
        _http = options.HttpHandler is { } handler
            ? new HttpMessageInvoker(handler, options.DisposeHttpClient)
            : new HttpMessageInvoker(new SocketsHttpHandler { EnableMultipleHttp2Connections = true, UseProxy = false });
    }

    internal Uri Address { get; }

    /// <param name="address">As in <c>http://127.0.0.1:50051</c>.</param>
    /// <param name="options">Null for the defaults.</param>
    /// <exception cref="ArgumentException">The address is neither http nor https.</exception>
    public static GrpcChannel ForAddress(string address, GrpcChannelOptions? options = null) => ForAddress(new Uri(address), options);

    /// <inheritdoc cref="ForAddress(string, GrpcChannelOptions?)"/>
    public static GrpcChannel ForAddress(Uri address, GrpcChannelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(address);
        if (!address.IsAbsoluteUri || (address.Scheme != Uri.UriSchemeHttp && address.Scheme != Uri.UriSchemeHttps))
        {
            throw new ArgumentException($"the address '{address}' does not start with http:// or https://", nameof(address));
        }

        return new GrpcChannel(address, options ?? new GrpcChannelOptions());
    }

    public override CallInvoker CreateCallInvoker() => new HttpCallInvoker(Address, _http, _options);

    public void Dispose() => _http.Dispose();
}
