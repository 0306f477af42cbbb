using System.Net;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Xunit;

namespace InferenceServer.UnitTests.Grpc;

/// <summary>What the client makes of responses, most of which our server would not send.</summary>
public sealed class ClientResponseTests
{
    private static readonly byte[] s_serving = [0, 0, 0, 0, 2, 8, 1];

    [Theory]
    [InlineData(HttpStatusCode.BadRequest, StatusCode.Internal)]
    [InlineData(HttpStatusCode.Unauthorized, StatusCode.Unauthenticated)]
    [InlineData(HttpStatusCode.Forbidden, StatusCode.PermissionDenied)]
    [InlineData(HttpStatusCode.NotFound, StatusCode.Unimplemented)]
    [InlineData(HttpStatusCode.TooManyRequests, StatusCode.Unavailable)]
    [InlineData(HttpStatusCode.BadGateway, StatusCode.Unavailable)]
    [InlineData(HttpStatusCode.ServiceUnavailable, StatusCode.Unavailable)]
    [InlineData(HttpStatusCode.GatewayTimeout, StatusCode.Unavailable)]
    [InlineData(HttpStatusCode.InternalServerError, StatusCode.Unknown)]
    [InlineData(HttpStatusCode.OK, StatusCode.Unknown)]
    public async Task A_response_without_gRPC_is_mapped_by_its_HTTP_status(HttpStatusCode http, StatusCode expected)
    {
        RpcException failure = await FailureOf(new StubHandler { HttpStatus = http, ContentType = "text/html" });

        Assert.Equal(expected, failure.StatusCode);
        Assert.Equal($"the server answered HTTP {(int)http} with text/html", failure.Status.Detail);
    }

    [Theory]
    [InlineData(null, StatusCode.Internal)]
    [InlineData("17", StatusCode.Unknown)]
    [InlineData("-1", StatusCode.Unknown)]
    [InlineData("five", StatusCode.Unknown)]
    [InlineData("5", StatusCode.NotFound)]
    public async Task The_status_in_the_trailers_counts(string? status, StatusCode expected)
    {
        RpcException failure = await FailureOf(new StubHandler { Body = s_serving, Status = status, Message = "%C3%BC" });

        Assert.Equal(expected, failure.StatusCode);
        Assert.Equal(status is null ? "the response ended without a status" : "ü", failure.Status.Detail);
    }

    [Fact]
    public async Task A_trailers_only_response_has_its_status_and_metadata_in_the_headers()
    {
        RpcException failure = await FailureOf(new StubHandler { IsTrailersOnly = true, Status = "8" });

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.Equal("there", failure.Trailers.GetValue("x-found"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Another_number_of_responses_than_one_is_UNIMPLEMENTED(int count)
    {
        StubHandler handler = new() { Body = [.. Enumerable.Repeat(s_serving, count).SelectMany(b => b)], Status = "0" };
        using GrpcChannel channel = ChannelOf(handler);
        using AsyncUnaryCall<HealthCheckResponse> call = new Health.HealthClient(channel).CheckAsync(new HealthCheckRequest());

        RpcException failure = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync);

        Assert.Equal(StatusCode.Unimplemented, failure.StatusCode);
        Assert.Equal(StatusCode.Unimplemented, call.GetStatus().StatusCode);
    }

    [Fact]
    public async Task A_message_cut_short_is_INTERNAL()
    {
        RpcException failure = await FailureOf(new StubHandler { Body = s_serving[..^1], Status = "0" });

        Assert.Equal((StatusCode.Internal, "the message is cut short"), (failure.StatusCode, failure.Status.Detail));
    }

    [Fact]
    public async Task A_handler_that_fails_is_UNAVAILABLE_and_its_failure_is_kept()
    {
        HttpRequestException cause = new("no route");

        RpcException failure = await FailureOf(new StubHandler { Failure = cause });

        Assert.Equal((StatusCode.Unavailable, "no route"), (failure.StatusCode, failure.Status.Detail));
        Assert.Same(cause, failure.Status.DebugException);
    }

    [Fact]
    public async Task A_call_that_has_ended_keeps_its_status_whatever_comes_after()
    {
        using GrpcChannel channel = ChannelOf(new StubHandler { Body = s_serving, Status = "0" });
        using CancellationTokenSource cancellation = new();
        AsyncUnaryCall<HealthCheckResponse> call = new Health.HealthClient(channel).CheckAsync(
            new HealthCheckRequest(), cancellationToken: cancellation.Token);

        HealthCheckResponse response = await call;
        await cancellation.CancelAsync();
        call.Dispose();

        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, response.Status);
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        Assert.Equal("there", call.GetTrailers().GetValue("x-found"));
    }

    [Fact]
    public void A_call_that_has_not_ended_has_no_status()
    {
        using GrpcChannel channel = ChannelOf(new StubHandler { Hangs = true });
        using AsyncUnaryCall<HealthCheckResponse> call = new Health.HealthClient(channel).CheckAsync(new HealthCheckRequest());

        Assert.Throws<InvalidOperationException>(() => call.GetStatus());
        Assert.Throws<InvalidOperationException>(() => call.GetTrailers());
    }

    [Fact]
    public async Task The_request_is_what_the_protocol_asks_for()
    {
        StubHandler handler = new() { Body = s_serving, Status = "0" };
        using GrpcChannel channel = ChannelOf(handler);

        await new Health.HealthClient(channel).CheckAsync(
            new HealthCheckRequest { Service = "x" },
            new Metadata { { "x-text", "t" }, { "x-bytes-bin", [0, 255] } },
            DateTime.UtcNow.AddMinutes(5));

        HttpRequestMessage request = handler.Request!;
        Assert.Equal(HttpMethod.Post, request.Method);
        Assert.Equal("http://stub/grpc.health.v1.Health/Check", request.RequestUri!.ToString());
        Assert.Equal(HttpVersion.Version20, request.Version);
        Assert.Equal(HttpVersionPolicy.RequestVersionExact, request.VersionPolicy);
        Assert.Equal("application/grpc", handler.RequestContentType);
        Assert.Equal("trailers", request.Headers.TE.ToString());
        Assert.Equal(["identity,gzip"], request.Headers.GetValues("grpc-accept-encoding"));
        Assert.StartsWith("grpc-inferenceserver/", request.Headers.UserAgent.ToString(), StringComparison.Ordinal);
        Assert.Equal(["t"], request.Headers.GetValues("x-text"));
        Assert.Equal(["AP8"], request.Headers.GetValues("x-bytes-bin"));
        Assert.Matches("^[0-9]{6}m$", Assert.Single(request.Headers.GetValues("grpc-timeout")));
        Assert.Equal([0, 0, 0, 0, 3, 10, 1, (byte)'x'], handler.RequestBody);
    }

    [Theory]
    [InlineData("ftp://host")]
    [InlineData("localhost:1234")]
    public void An_address_that_is_not_http_is_refused(string address)
    {
        Assert.Throws<ArgumentException>(() => GrpcChannel.ForAddress(address));
    }

    private static GrpcChannel ChannelOf(StubHandler handler) =>
        GrpcChannel.ForAddress("http://stub", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });

    private static async Task<RpcException> FailureOf(StubHandler handler)
    {
        using GrpcChannel channel = ChannelOf(handler);
        Health.HealthClient client = new(channel);
        return await Assert.ThrowsAsync<RpcException>(async () => await client.CheckAsync(new HealthCheckRequest()));
    }

    /// <summary>Answers every request with the same response, and keeps the request.</summary>
    private sealed class StubHandler : HttpMessageHandler
    {
        public HttpStatusCode HttpStatus { get; init; } = HttpStatusCode.OK;

        public string ContentType { get; init; } = "application/grpc";

        public byte[] Body { get; init; } = [];

        public string? Status { get; init; }

        public string? Message { get; init; }

        public bool IsTrailersOnly { get; init; }

        public bool Hangs { get; init; }

        public Exception? Failure { get; init; }

        public HttpRequestMessage? Request { get; private set; }

        public byte[]? RequestBody { get; private set; }

        public string? RequestContentType { get; private set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Request = request;
            RequestContentType = request.Content!.Headers.ContentType!.ToString();
            RequestBody = await request.Content.ReadAsByteArrayAsync(cancellationToken);
            if (Hangs)
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
            }

            if (Failure is not null)
            {
                throw Failure;
            }

            HttpResponseMessage response = new(HttpStatus) { Content = new ByteArrayContent(Body), RequestMessage = request };
            response.Content.Headers.TryAddWithoutValidation("content-type", ContentType);
            System.Net.Http.Headers.HttpResponseHeaders target = IsTrailersOnly ? response.Headers : response.TrailingHeaders;
            target.TryAddWithoutValidation("x-found", "there");
            if (Status is not null)
            {
                target.TryAddWithoutValidation("grpc-status", Status);
            }

            if (Message is not null)
            {
                target.TryAddWithoutValidation("grpc-message", Message);
            }

            return response;
        }
    }
}
