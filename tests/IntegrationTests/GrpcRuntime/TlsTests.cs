using Grpc.Core;
using Grpc.Net.Client;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

public sealed class TlsTests
{
    [Fact]
    public async Task Calls_go_over_TLS_with_a_certificate_that_is_trusted_and_no_other()
    {
        using TestCertificate certificate = new();
        await using ProbeServer server = await ProbeServer.StartAsync(listen: options =>
        {
            options.Protocols = HttpProtocols.Http1AndHttp2;
            options.UseHttps(certificate.Value);
        });
        using SocketsHttpHandler handler = new()
        {
            SslOptions =
            {
                RemoteCertificateValidationCallback = (_, found, _, _) => found!.Equals(certificate.Value),
            },
        };
        using GrpcChannel trusting = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { HttpHandler = handler });

        ProbeReply reply = await new Probe.ProbeClient(trusting).UnaryAsync(new ProbeRequest { Text = "tls" });
        RpcException refused = await Assert.ThrowsAsync<RpcException>(async () => await server.Client.UnaryAsync(new ProbeRequest()));

        Assert.Equal("https", server.Address.Scheme);
        Assert.Equal("hello tls", reply.Text);
        Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
    }
}
