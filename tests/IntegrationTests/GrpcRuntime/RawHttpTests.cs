using System.Net;
using Google.Protobuf.WellKnownTypes;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>What the server makes of requests that no gRPC client sends, and what exactly it sends back.</summary>
public sealed class RawHttpTests(ProbeServerFixture fixture) : IClassFixture<ProbeServerFixture>, IDisposable
{
    private static readonly ProbeRequest s_request = new() { Text = "x" };

    private readonly RawGrpcClient _raw = new(fixture.Server.Address);

    [Theory]
    [InlineData("application/grpc")]
    [InlineData("application/grpc+proto")]
    public async Task A_response_is_a_message_and_a_status_in_the_trailers(string contentType)
    {
        RawGrpcResponse response = await _raw.CallAsync("Nothing", new Empty(), ("content-type", contentType));

        Assert.Equal(HttpStatusCode.OK, response.HttpStatus);
        Assert.False(response.IsTrailersOnly);
        Assert.Equal("0", response.Status);
        Assert.Null(response.Message);
        Assert.Equal([0, 0, 0, 0, 0], response.Body);
    }

    [Fact]
    public async Task A_failure_before_any_message_is_trailers_only_with_its_message_percent_encoded()
    {
        RawGrpcResponse response = await _raw.CallAsync("Unary", new ProbeRequest { FailCode = 9, Text = "ü 100%\n" });

        Assert.True(response.IsTrailersOnly);
        Assert.Equal("9", response.Status);
        Assert.Equal("%C3%BC 100%25%0A", response.Message);
        Assert.Equal(["AAEC/w"], response.Headers.GetValues("x-detail-bin"));
        Assert.Empty(response.Body);
    }

    [Theory]
    [InlineData("application/json")]
    [InlineData("application/grpc-web")]
    [InlineData("text/plain")]
    public async Task Another_content_type_is_415(string contentType)
    {
        RawGrpcResponse response = await _raw.CallAsync("Unary", s_request, ("content-type", contentType));

        Assert.Equal(HttpStatusCode.UnsupportedMediaType, response.HttpStatus);
        Assert.Null(response.Status);
    }

    [Fact]
    public async Task HTTP_1_is_426()
    {
        await using ProbeServer server = await ProbeServer.StartAsync(listen: options => options.Protocols = HttpProtocols.Http1);
        using RawGrpcClient raw = new(server.Address);

        RawGrpcResponse response = await raw.SendAsync(
            HttpMethod.Post, "/inferenceserver.tests.probe.Probe/Unary", RawGrpcClient.Frame(s_request), HttpVersion.Version11);

        Assert.Equal(HttpStatusCode.UpgradeRequired, response.HttpStatus);
        Assert.Equal("HTTP/2", Assert.Single(response.Headers.Upgrade).ToString());
    }

    [Fact]
    public async Task Another_HTTP_method_is_405_and_another_path_without_gRPC_is_404()
    {
        RawGrpcResponse get = await _raw.SendAsync(HttpMethod.Get, "/inferenceserver.tests.probe.Probe/Unary", [], HttpVersion.Version20);
        RawGrpcResponse post = await _raw.SendAsync(HttpMethod.Post, "/no/such", [], HttpVersion.Version20, ("content-type", "text/plain"));

        Assert.Equal(HttpStatusCode.MethodNotAllowed, get.HttpStatus);
        Assert.Equal(HttpStatusCode.NotFound, post.HttpStatus);
    }

    [Theory]
    [InlineData("/no.Service/Method")]
    [InlineData("/inferenceserver.tests.probe.Probe/Absent")]
    public async Task An_unknown_method_is_UNIMPLEMENTED(string path)
    {
        RawGrpcResponse response = await _raw.SendAsync(HttpMethod.Post, path, [], HttpVersion.Version20);

        Assert.Equal(HttpStatusCode.OK, response.HttpStatus);
        Assert.Equal("12", response.Status);
    }

    [Theory]
    [InlineData("0S", "4", "the deadline has passed")]
    [InlineData("99n", "4", "the deadline has passed")]
    [InlineData("5", "13", "the grpc-timeout '5' is not valid")]
    [InlineData("soon", "13", "the grpc-timeout 'soon' is not valid")]
    public async Task A_timeout_that_is_over_or_not_valid_fails_at_once(string timeout, string status, string message)
    {
        RawGrpcResponse response = await _raw.CallAsync("Wait", s_request, ("grpc-timeout", timeout));

        Assert.Equal((status, message), (response.Status, response.Message));
    }

    [Fact]
    public async Task An_unknown_encoding_is_UNIMPLEMENTED_and_the_known_ones_are_told()
    {
        RawGrpcResponse response = await _raw.CallAsync("Unary", s_request, ("grpc-encoding", "deflate"));

        Assert.Equal("12", response.Status);
        Assert.Equal(["identity,gzip"], response.Headers.GetValues("grpc-accept-encoding"));
    }

    [Theory]
    [InlineData(new byte[] { 2, 0, 0, 0, 0 }, "13")]
    [InlineData(new byte[] { 0, 0, 0 }, "13")]
    [InlineData(new byte[] { 0, 0, 0, 0, 5, 10, 1 }, "13")]
    [InlineData(new byte[] { 0, 0, 0, 0, 3, 0xff, 0xff, 0xff }, "13")]
    [InlineData(new byte[] { 1, 0, 0, 0, 3, 10, 1, 120 }, "13")]
    [InlineData(new byte[] { 0, 0x7f, 0xff, 0xff, 0xff }, "8")]
    [InlineData(new byte[] { 0, 0xff, 0xff, 0xff, 0xff }, "8")]
    [InlineData(new byte[] { }, "12")]
    [InlineData(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, "12")]
    public async Task A_malformed_body_fails_as_the_status_table_says(byte[] body, string status)
    {
        foreach (string method in new[] { "Unary", "ServerStream" })
        {
            RawGrpcResponse response = await _raw.SendAsync(method, body);

            Assert.Equal(status, response.Status);
        }
    }

    [Fact]
    public async Task A_binary_header_that_is_no_base64_is_INTERNAL_and_named()
    {
        RawGrpcResponse response = await _raw.CallAsync("Unary", new ProbeRequest { Headers = true }, ("x-in-bin", "*"));

        Assert.Equal(("13", "the metadata 'x-in-bin' is not valid base64"), (response.Status, response.Message));
    }

    [Theory]
    [InlineData("gzip", true)]
    [InlineData("identity, gzip", true)]
    [InlineData("identity,deflate", false)]
    [InlineData(null, false)]
    public async Task Responses_are_compressed_for_who_accepts_it(string? accepted, bool compressed)
    {
        await using ProbeServer server = await ProbeServer.StartAsync(options => options.ResponseCompressionAlgorithm = "gzip");
        using RawGrpcClient raw = new(server.Address);
        (string, string)[] headers = accepted is null ? [] : [("grpc-accept-encoding", accepted)];

        RawGrpcResponse large = await raw.CallAsync("Unary", new ProbeRequest { ReplySize = 100_000 }, headers);
        RawGrpcResponse empty = await raw.CallAsync("Nothing", new Empty(), headers);

        Assert.Equal(compressed, large.Headers.Contains("grpc-encoding"));
        Assert.Equal(compressed ? 1 : 0, large.Body[0]);
        Assert.Equal(compressed, large.Body.Length < 10_000);
        Assert.Equal([0, 0, 0, 0, 0], empty.Body);
    }

    public void Dispose() => _raw.Dispose();
}
