using System.Text;
using Grpc.Core;
using InferenceServer.Protocol.V1;
using Xunit;
using static InferenceServer.IntegrationTests.Adapters.UploadMessages;

namespace InferenceServer.IntegrationTests.Adapters;

/// <summary>Uploads that go wrong in each way: a clear status, and nothing left behind.</summary>
public class UploadFailureTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private static readonly string s_sample = RunningServer.Sample("shout");
    private static readonly byte[] s_config = Content(s_sample, ConfigFile);
    private static readonly byte[] s_weights = Content(s_sample, WeightFile);

    private readonly AdapterService.AdapterServiceClient _raw = new(fixture.Server.Channel);

    public static TheoryData<string, string> Failures => new()
    {
        { "nothing", "header" },
        { "data first", "header" },
        { "file first", "header" },
        { "no file", ConfigFile },
        { "data before a file", "start of a file" },
        { "second header", "second time" },
        { "empty message", "part" },
        { "other file", "pytorch_model.bin" },
        { "path as a file", "neither" },
        { "absolute path as a file", "neither" },
        { "same file twice", "second time" },
        { "weights missing", WeightFile },
        { "config missing", ConfigFile },
        { "empty file", "size_bytes" },
        { "negative size", "size_bytes" },
        { "one byte short", "ended after" },
        { "one byte long", "more than" },
        { "next file too early", "ended after" },
        { "wrong hash", "SHA-256" },
        { "hash is none", "hexadecimal" },
        { "no name", "name" },
        { "name with a path", "name" },
        { "name too long", "name" },
        { "config is no JSON", ConfigFile },
        { "weights are no safetensors", WeightFile },
        { "weights cut off in the file itself", WeightFile },
        { "rank differs from the config", "lora_A" },
    };

    [Theory]
    [MemberData(nameof(Failures))]
    public async Task An_upload_that_goes_wrong_is_refused_clearly_and_leaves_nothing(string failure, string named)
    {
        string[] before = Files();

        RpcException error = await Assert.ThrowsAsync<RpcException>(() => SendAsync(Messages(failure)));

        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
        Assert.Contains(named, error.Status.Detail, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(before, Files());
        Assert.Equal(StatusCode.NotFound, await StatusOfGetAsync("broken"));
    }

    [Theory]
    [InlineData(ConfigFile, 2L << 20)]
    [InlineData(WeightFile, 1L << 50)]
    public async Task A_file_that_is_announced_too_large_is_refused_before_its_bytes(string file, long size)
    {
        string[] before = Files();
        UploadRequest start = new() { File = new FileStart { Name = file, SizeBytes = size } };

        RpcException error = await Assert.ThrowsAsync<RpcException>(() => SendAsync([Header("broken"), start]));

        Assert.Equal(StatusCode.ResourceExhausted, error.StatusCode);
        Assert.Equal(before, Files());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(6)]
    public async Task A_client_that_goes_away_leaves_nothing(int sentMessages)
    {
        string[] before = Files();
        using CancellationTokenSource gone = new();
        AsyncClientStreamingCall<UploadRequest, UploadResponse> call = _raw.Upload(cancellationToken: gone.Token);
        foreach (UploadRequest message in Whole("broken", s_sample).Take(sentMessages))
        {
            await call.RequestStream.WriteAsync(message);
        }

        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => call.ResponseAsync);

        await Eventually.Holds("the staging folder is clean again", () => Files().SequenceEqual(before));
        Assert.Equal(StatusCode.NotFound, await StatusOfGetAsync("broken"));
    }

    [Fact]
    public async Task A_client_that_falls_silent_is_given_up()
    {
        await using RunningServer server =
            await RunningServer.StartAsync(data: null, configure: null, "--max-uploads", "1", "--upload-idle", "1");
        AdapterService.AdapterServiceClient raw = new(server.Channel);
        using AsyncClientStreamingCall<UploadRequest, UploadResponse> silent = raw.Upload();
        await silent.RequestStream.WriteAsync(Header("silent"));

        RpcException error = await Assert.ThrowsAsync<RpcException>(() => silent.ResponseAsync);

        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
        Assert.Contains("no message came", error.Status.Detail, StringComparison.Ordinal);
        await server.Client.Adapters.UploadFolderAsync("next", s_sample);
    }

    [Fact]
    public async Task More_uploads_than_allowed_are_refused()
    {
        await using RunningServer server = await RunningServer.StartAsync(data: null, configure: null, "--max-uploads", "1");
        AdapterService.AdapterServiceClient raw = new(server.Channel);
        using AsyncClientStreamingCall<UploadRequest, UploadResponse> first = raw.Upload();
        List<UploadRequest> messages = Whole("first", s_sample);
        await first.RequestStream.WriteAsync(messages[0]);
        await Eventually.Holds("the first upload has begun", () => Directory.GetDirectories(server.StagingFolder).Length > 0);

        using AsyncClientStreamingCall<UploadRequest, UploadResponse> second = raw.Upload();
        RpcException error = await Assert.ThrowsAsync<RpcException>(() => second.ResponseAsync);

        Assert.Equal(StatusCode.ResourceExhausted, error.StatusCode);
        foreach (UploadRequest message in messages.Skip(1))
        {
            await first.RequestStream.WriteAsync(message);
        }

        await first.RequestStream.CompleteAsync();
        Assert.Equal("first", (await first.ResponseAsync).Adapter.Name);
    }

    private static List<UploadRequest> Messages(string failure)
    {
        UploadRequest header = Header("broken");
        UploadRequest configStart = Start(ConfigFile, s_config);
        UploadRequest config = Data(s_config);
        UploadRequest weightStart = Start(WeightFile, s_weights);
        UploadRequest weights = Data(s_weights);
        byte[] garbage = Encoding.UTF8.GetBytes("{ this is no JSON");
        byte[] otherRank =
            Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(s_config).Replace("\"r\": 4", "\"r\": 5", StringComparison.Ordinal));
        return failure switch
        {
            "nothing" => [],
            "data first" => [config],
            "file first" => [configStart, config],
            "no file" => [header],
            "data before a file" => [header, config],
            "second header" => [header, configStart, config, header],
            "empty message" => [header, new UploadRequest()],
            "other file" => [header, Start("pytorch_model.bin", s_weights)],
            "path as a file" => [header, Start("../" + ConfigFile, s_config)],
            "absolute path as a file" => [header, Start("/tmp/" + ConfigFile, s_config)],
            "same file twice" => [header, configStart, config, configStart],
            "weights missing" => [header, configStart, config],
            "config missing" => [header, weightStart, weights],
            "empty file" => [header, Start(ConfigFile, [])],
            "negative size" => [header, new UploadRequest { File = new FileStart { Name = ConfigFile, SizeBytes = -1 } }],
            "one byte short" => [header, configStart, config, weightStart, Data(s_weights[..^1])],
            "one byte long" => [header, configStart, config, weightStart, Data([.. s_weights, 0])],
            "next file too early" => [header, configStart, Data(s_config[..^1]), weightStart, weights],
            "wrong hash" => [header, configStart, config, Start(WeightFile, s_weights, new string('0', 64)), weights],
            "hash is none" => [header, Start(ConfigFile, s_config, "xyz"), config],
            "no name" => [Header(""), configStart, config, weightStart, weights],
            "name with a path" => [Header("../evil"), configStart, config, weightStart, weights],
            "name too long" => [Header(new string('n', 129)), configStart, config, weightStart, weights],
            "config is no JSON" => [header, Start(ConfigFile, garbage), Data(garbage), weightStart, weights],
            "weights are no safetensors" => [header, configStart, config, Start(WeightFile, garbage), Data(garbage)],
            "weights cut off in the file itself" =>
                [header, configStart, config, Start(WeightFile, s_weights[..^8]), Data(s_weights[..^8])],
            "rank differs from the config" => [header, Start(ConfigFile, otherRank), Data(otherRank), weightStart, weights],
            _ => throw new ArgumentOutOfRangeException(nameof(failure), failure, "not a failure"),
        };
    }

    private async Task<UploadResponse> SendAsync(List<UploadRequest> messages)
    {
        using AsyncClientStreamingCall<UploadRequest, UploadResponse> call = _raw.Upload();
        foreach (UploadRequest message in messages)
        {
            try
            {
                await call.RequestStream.WriteAsync(message);
            }
            catch (Exception error) when (error is RpcException or InvalidOperationException)
            {
                break; // the server has ended the call; the response says why
            }
        }

        await call.RequestStream.CompleteAsync();
        return await call.ResponseAsync;
    }

    private async Task<StatusCode> StatusOfGetAsync(string adapter)
    {
        RpcException error =
            await Assert.ThrowsAsync<RpcException>(async () => await _raw.GetAsync(new GetAdapterRequest { Adapter = adapter }));
        return error.StatusCode;
    }

    private string[] Files()
    {
        string data = fixture.Server.DataFolder;
        return [.. Directory.EnumerateFileSystemEntries(data, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
    }
}
