using Grpc.Health.V1;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using InferenceServer.TestKit;
using Microsoft.AspNetCore.Hosting;
using Xunit;
using Xunit.Abstractions;
using Alpha = Grpc.Reflection.V1Alpha;
using Reflection = Grpc.Reflection.V1;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>Clients that are not ours against our server; their scripts are in the folder foreign.</summary>
public sealed class ForeignClientTests(ITestOutputHelper output)
{
    private const string PythonAllPassed = "32 passed, 0 failed";
    private const string NodeAllPassed = "27 passed, 0 failed";

    [RequiresFact(Tool.PythonGrpc)]
    public Task Python_grpcio_calls_the_server() => RunAsync(Tool.PythonGrpc, "probe.py", PythonAllPassed, gzip: false, tls: false);

    [RequiresFact(Tool.PythonGrpc)]
    public Task Python_grpcio_reads_compressed_responses() => RunAsync(Tool.PythonGrpc, "probe.py", PythonAllPassed, gzip: true, tls: false);

    [RequiresFact(Tool.PythonGrpc)]
    public Task Python_grpcio_calls_the_server_over_TLS() => RunAsync(Tool.PythonGrpc, "probe.py", PythonAllPassed, gzip: false, tls: true);

    [RequiresFact(Tool.NodeGrpc)]
    public Task Node_grpc_js_calls_the_server() => RunAsync(Tool.NodeGrpc, "probe.js", NodeAllPassed, gzip: false, tls: false);

    [RequiresFact(Tool.NodeGrpc)]
    public Task Node_grpc_js_reads_compressed_responses() => RunAsync(Tool.NodeGrpc, "probe.js", NodeAllPassed, gzip: true, tls: false);

    [RequiresFact(Tool.NodeGrpc)]
    public Task Node_grpc_js_calls_the_server_over_TLS() => RunAsync(Tool.NodeGrpc, "probe.js", NodeAllPassed, gzip: false, tls: true);

    private async Task RunAsync(Tool tool, string script, string allPassed, bool gzip, bool tls)
    {
        string folder = Directory.CreateTempSubdirectory("grpc-foreign-").FullName;
        try
        {
            using TestCertificate certificate = new();
            await using ProbeServer server = await ProbeServer.StartAsync(
                options => options.ResponseCompressionAlgorithm = gzip ? "gzip" : null,
                listen: options =>
                {
                    if (tls)
                    {
                        options.UseHttps(certificate.Value);
                    }
                });
            string descriptors = Path.Combine(folder, "probe.binpb");
            DescriptorSets.Write(
                descriptors,
                ProbeReflection.Descriptor,
                HealthReflection.Descriptor,
                Reflection.ReflectionReflection.Descriptor,
                Alpha.ReflectionReflection.Descriptor);
            List<string> arguments = [tls ? $"localhost:{server.Address.Port}" : server.Address.Authority, descriptors];
            if (tls)
            {
                string pem = Path.Combine(folder, "certificate.pem");
                await File.WriteAllTextAsync(pem, certificate.Value.ExportCertificatePem());
                arguments.Add(pem);
            }

            ToolResult result = await ExternalTools.RunScriptAsync(tool, script, [.. arguments]);

            output.WriteLine(result.Output);
            Assert.True(result.ExitCode == 0 && result.LastLine == allPassed, result.Output);

            // What the client gave up was cancelled on the server, and was no error.
            string client = tool == Tool.PythonGrpc ? "python" : "node";
            await server.Log.Cancelled($"{client}-deadline");
            await server.Log.Cancelled($"{client}-cancel");
            Assert.All(server.Errors.Entries, entry => Assert.EndsWith("failed: secret", entry, StringComparison.Ordinal));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
