using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.ForeignClients;

/// <summary>Clients that we did not write: each generates, uploads and administers against the server.</summary>
public class ForeignClientTests(ITestOutputHelper output)
{
    [RequiresFact(Tool.PythonGrpc)]
    public async Task Pythons_grpcio_generates_uploads_and_administers()
    {
        await using RunningServer server = await RunningServer.StartAsync();

        ToolResult result =
            await ExternalTools.RunScriptAsync(Tool.PythonGrpc, "server_client.py", server.Target, RunningServer.Sample("shout"));

        output.WriteLine(result.Output);
        Assert.EndsWith(" passed, 0 failed", result.LastLine, StringComparison.Ordinal);
        Assert.Equal(0, result.ExitCode);
    }

    [RequiresFact(Tool.NodeGrpc)]
    public async Task Nodes_grpc_js_generates_uploads_and_administers()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        string protos = Path.Combine(GoldenData.RepositoryRoot()!, "protos");

        ToolResult result =
            await ExternalTools.RunScriptAsync(Tool.NodeGrpc, "server_client.js", server.Target, protos, RunningServer.Sample("whisper"));

        output.WriteLine(result.Output);
        Assert.EndsWith(" passed, 0 failed", result.LastLine, StringComparison.Ordinal);
        Assert.Equal(0, result.ExitCode);
    }

    [RequiresFact(Tool.Promtool)]
    public async Task Promtool_accepts_the_metrics_of_a_server_that_has_served()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        await server.Client.Adapters.UploadFolderAsync("shout", RunningServer.Sample("shout"));
        await server.Client.GenerateTextAsync("hello", Generate.Greedy("shout"));
        string metrics = await server.Http.GetStringAsync("/metrics");

        ToolResult result = await ExternalTools.RunAsync(Tool.Promtool, ["check", "metrics"], metrics);

        output.WriteLine(result.Output);
        Assert.Equal(0, result.ExitCode);
    }
}
