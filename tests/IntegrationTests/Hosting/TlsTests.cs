using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;
using InferenceServer.TestKit.Placeholder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

public class TlsTests
{
    [Fact]
    public async Task An_https_address_takes_kestrels_configured_certificate()
    {
        using TemporaryFolder data = new();
        string file = Path.Combine(data.Path, "server.pfx");
        byte[] hash = WriteCertificate(file);
        await using InferenceServerHost host = InferenceServerHost.Build(
            ["--model", PlaceholderModel.Folder, "--grpc", "https://127.0.0.1:0", "--http", "none", "--data", data.Path, "--device", "cpu"],
            builder =>
            {
                builder.Logging.ClearProviders();
                builder.Configuration.AddInMemoryCollection([new("Kestrel:Certificates:Default:Path", file)]);
            });
        await host.StartAsync();
        await host.Ready;

        using SocketsHttpHandler handler = new();
        handler.SslOptions.RemoteCertificateValidationCallback =
            (_, certificate, _, _) => certificate!.GetCertHash(HashAlgorithmName.SHA256).AsSpan().SequenceEqual(hash);
        using InferenceClient client = new(new InferenceClientOptions { Address = host.GrpcAddress, HttpHandler = handler });
        ServerInfo info = await client.GetInfoAsync();
        await host.StopAsync();

        Assert.Equal(Uri.UriSchemeHttps, host.GrpcAddress.Scheme);
        Assert.Equal(PlaceholderModel.Name, info.Model.Name);
    }

    private static byte[] WriteCertificate(string file)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=localhost", key, HashAlgorithmName.SHA256);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        File.WriteAllBytes(file, certificate.Export(X509ContentType.Pfx));
        return certificate.GetCertHash(HashAlgorithmName.SHA256);
    }
}
