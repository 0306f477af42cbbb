using System.Globalization;
using System.Net;
using Google.Protobuf;
using Grpc.Health.V1;
using Grpc.Reflection.V1;
using InferenceServer.Client;
using InferenceServer.IntegrationTests.Adapters;
using InferenceServer.IntegrationTests.GrpcRuntime;
using InferenceServer.Protocol.V1;
using Microsoft.Extensions.Logging;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.Robustness;

/// <summary>500 damaged requests over all calls: each gets a status that means something, and the server goes on as before.</summary>
public class MalformedRequestTests(ITestOutputHelper output)
{
    private const int Count = 500;

    /// <summary>Of both ends together, a request; a lying length of gigabytes would show at once.</summary>
    private const long MostBytesEach = 1 << 20;

    [Fact]
    public async Task Each_malformed_request_gets_a_clear_status_and_the_server_serves_on()
    {
        ErrorLog log = new();
        await using RunningServer server = await RunningServer.StartAsync(data: null, builder => builder.Logging.AddProvider(log));
        await server.Client.Adapters.UploadFolderAsync("shout", RunningServer.Sample("shout"));
        GenerationResult before = await server.Client.GenerateTextAsync("hello", Generate.Greedy("shout"));
        string[] files = Files(server);
        using RawGrpcClient raw = new(server.Host.GrpcAddress);
        (string Path, IMessage Request)[] calls = Calls();
        SortedDictionary<string, int> statuses = new(StringComparer.Ordinal);
        long allocated = GC.GetTotalAllocatedBytes();

        for (int seed = 0; seed < Count; seed++)
        {
            Mutator mutator = new(seed);
            (string path, IMessage request) = calls[seed % calls.Length];
            (byte[] body, (string, string)[] headers) = mutator.Damage(RawGrpcClient.Frame(request));

            RawGrpcResponse response = await raw.SendAsync(HttpMethod.Post, path, body, HttpVersion.Version20, headers);

            string status = response.Status ?? "";
            statuses[status] = statuses.GetValueOrDefault(status) + 1;
            Assert.True(response.HttpStatus == HttpStatusCode.OK, $"seed {seed}, {path}: HTTP {response.HttpStatus}");
            Assert.True(
                IsClear(status, response.Message),
                $"seed {seed}, {path}: grpc-status '{status}', '{response.Message}'; {string.Join("; ", log.Entries)}");
        }

        long each = (GC.GetTotalAllocatedBytes() - allocated) / Count;
        output.WriteLine($"{Count} malformed requests over {calls.Length} calls, {each} bytes each; by status: "
            + string.Join(", ", statuses.Select(pair => $"{pair.Key}: {pair.Value}")));
        Assert.True(each < MostBytesEach, $"{each} bytes allocated a request");
        Assert.Equal(files, Files(server));
        Assert.Empty(log.Entries);
        await Eventually.Holds(
            "no request is left running", async () => (await server.Client.GetInfoAsync()).Load is { Running: 0, Waiting: 0 });
        GenerationResult after = await server.Client.GenerateTextAsync("hello", Generate.Greedy("shout"));
        Assert.Equal(before.TokenIds, after.TokenIds);
    }

    /// <summary>A status with a reason; UNKNOWN, or the text that stands for an exception we did not foresee, is none.</summary>
    private static bool IsClear(string status, string? message)
    {
        return int.TryParse(status, NumberStyles.None, CultureInfo.InvariantCulture, out int code)
            && code is >= 0 and <= 16 and not 2
            && (code == 0 || (!string.IsNullOrEmpty(message) && !message.Contains("internal error", StringComparison.Ordinal)));
    }

    /// <summary>
    /// Every call of every service. Those that change adapters name one that does not exist, so that even an undamaged copy changes
    /// nothing.
    /// </summary>
    private static (string Path, IMessage Request)[] Calls()
    {
        const string V1 = "/inferenceserver.v1.";
        const string Missing = "missing";
        GenerateRequest generate = Generate.Request("hello", "shout", tokens: 4);
        generate.Sampling.LogitBias[65] = 1f;
        generate.Stopping.Stop.Add("zzz");
        GenerateRequest chat = Generate.Request("", tokens: 4);
        chat.Chat = new ChatPrompt { Messages = { new ChatMessage { Role = "user", Content = "hi" } } };
        GenerateRequest ids = Generate.Request("", tokens: 4);
        ids.TokenIds = new TokenIds { Ids = { 256, 104, 105 } };
        return
        [
            ($"{V1}GenerationService/Generate", generate),
            ($"{V1}GenerationService/Generate", chat),
            ($"{V1}GenerationService/Generate", ids),
            ($"{V1}AdapterService/Upload", UploadMessages.Header("mutated")),
            ($"{V1}AdapterService/List", new ListAdaptersRequest { AllVersions = true, PageSize = 3, PageToken = "shout" }),
            ($"{V1}AdapterService/Get", new GetAdapterRequest { Adapter = "shout" }),
            ($"{V1}AdapterService/Load", new LoadAdapterRequest { Adapter = "shout" }),
            ($"{V1}AdapterService/Unload", new UnloadAdapterRequest { Adapter = Missing }),
            ($"{V1}AdapterService/Delete", new DeleteAdapterRequest { Adapter = Missing, AllVersions = true }),
            ($"{V1}AdapterService/Pin", new PinAdapterRequest { Adapter = Missing, Pinned = true }),
            ($"{V1}AdapterService/Activate", new ActivateAdapterRequest { Adapter = Missing }),
            ($"{V1}AdapterService/Merge", new MergeAdapterRequest { Adapter = Missing }),
            ($"{V1}AdapterService/Unmerge", new UnmergeAdapterRequest { Adapter = Missing }),
            ($"{V1}ServerService/GetInfo", new GetInfoRequest()),
            ("/grpc.health.v1.Health/Check", new HealthCheckRequest { Service = "" }),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", new ServerReflectionRequest { ListServices = "*" }),
            ($"{V1}GenerationService/NoSuchMethod", generate),
        ];
    }

    private static string[] Files(RunningServer server)
    {
        return [.. Directory.EnumerateFileSystemEntries(server.DataFolder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
    }
}
