using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;
using Google.Protobuf;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>A response as it came: its HTTP status, headers, trailers and bytes.</summary>
public sealed record RawGrpcResponse(HttpStatusCode HttpStatus, HttpResponseHeaders Headers, HttpResponseHeaders Trailers, byte[] Body)
{
    /// <summary>grpc-status, from the headers of a trailers-only response or from the trailers.</summary>
    public string? Status => Value("grpc-status");

    public string? Message => Value("grpc-message");

    public bool IsTrailersOnly => Headers.Contains("grpc-status");

    private string? Value(string name) =>
        (IsTrailersOnly ? Headers : Trailers).TryGetValues(name, out IEnumerable<string>? values) ? string.Join('|', values) : null;
}

/// <summary>Sends whatever a test wants to a server, valid or not, over HTTP/2 without our client.</summary>
public sealed class RawGrpcClient(Uri address) : IDisposable
{
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false })
    {
        BaseAddress = address,
        DefaultRequestVersion = HttpVersion.Version20,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
    };

    /// <summary>A message with its flag and length before it.</summary>
    public static byte[] Frame(IMessage message, byte flag = 0)
    {
        byte[] content = message.ToByteArray();
        byte[] frame = [flag, 0, 0, 0, 0, .. content];
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), content.Length);
        return frame;
    }

    public Task<RawGrpcResponse> CallAsync(string method, IMessage request, params (string Name, string Value)[] headers) =>
        SendAsync(method, Frame(request), headers);

    public Task<RawGrpcResponse> SendAsync(string method, byte[] body, params (string Name, string Value)[] headers) =>
        SendAsync(HttpMethod.Post, $"/inferenceserver.tests.probe.Probe/{method}", body, HttpVersion.Version20, headers);

    public async Task<RawGrpcResponse> SendAsync(
        HttpMethod httpMethod, string path, byte[] body, Version version, params (string Name, string Value)[] headers)
    {
        using HttpRequestMessage request = new(httpMethod, path);
        request.Version = version;
        request.VersionPolicy = HttpVersionPolicy.RequestVersionExact;
        if (httpMethod != HttpMethod.Get)
        {
            request.Content = new ByteArrayContent(body);
            request.Content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
        }

        foreach ((string name, string value) in headers)
        {
            if (name == "content-type")
            {
                request.Content!.Headers.Remove(name);
                request.Content.Headers.TryAddWithoutValidation(name, value);
            }
            else
            {
                request.Headers.TryAddWithoutValidation(name, value);
            }
        }

        using HttpResponseMessage response = await _http.SendAsync(request);
        byte[] content = await response.Content.ReadAsByteArrayAsync();
        return new RawGrpcResponse(response.StatusCode, response.Headers, response.TrailingHeaders, content);
    }

    public void Dispose() => _http.Dispose();
}
