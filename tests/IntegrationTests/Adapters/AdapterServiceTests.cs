using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.TestKit.Placeholder;
using Xunit;

namespace InferenceServer.IntegrationTests.Adapters;

/// <summary>Each call of the adapter service, each test on adapters of its own name.</summary>
public class AdapterServiceTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private readonly InferenceClient _client = fixture.Client;
    private readonly AdapterClient _adapters = fixture.Client.Adapters;

    [Fact]
    public async Task An_upload_says_what_came_and_the_same_bytes_are_not_kept_twice()
    {
        List<UploadProgress> progress = [];

        UploadResponse first = await _adapters.UploadFolderAsync(
            "describe", RunningServer.Sample("whisper"), progress: new Progress(progress.Add));
        UploadResponse second = await _adapters.UploadFolderAsync("describe", RunningServer.Sample("whisper"));

        AdapterInfo adapter = first.Adapter;
        Assert.False(first.AlreadyPresent);
        Assert.True(second.AlreadyPresent);
        Assert.Equal(adapter.Digest, second.Adapter.Digest);
        Assert.Equal("describe", adapter.Name);
        Assert.Equal(64, adapter.Digest.Length);
        Assert.True(adapter.Current);
        Assert.Equal("LORA", adapter.PeftType);
        Assert.Equal(8, adapter.MaxRank);
        Assert.Equal(PlaceholderModel.Name, adapter.BaseModel);
        Assert.Equal(5, adapter.TargetModules.Count); // q and v of two layers, and lm_head
        Assert.NotNull(adapter.UploadedAt);
        Assert.Null(adapter.LastUsedAt);
        Assert.Equal(progress[^1].TotalBytes, progress[^1].SentBytes);
        Assert.Equal(adapter.DiskBytes, progress[^1].TotalBytes);
    }

    [Fact]
    public async Task Must_be_new_refuses_a_name_that_exists()
    {
        await _adapters.UploadFolderAsync("only-once", RunningServer.Sample("shout"));

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            () => _adapters.UploadFolderAsync("only-once", RunningServer.Sample("whisper"), new UploadOptions { MustBeNew = true }));

        Assert.Equal(StatusCode.AlreadyExists, error.Status);
    }

    [Fact]
    public async Task A_new_version_is_current_while_the_old_one_streams_on()
    {
        GenerationResult old = await ResultAsync("swap", "shout", 400);
        IAsyncEnumerator<GenerateResponse> running = _client.GenerateAsync(Generate.Request("hello", "swap", 400)).GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());
        List<int> streamed = [.. running.Current.TokenIds];
        string oldVersion = running.Current.Started.Adapters.Single();

        UploadResponse upload = await _adapters.UploadFolderAsync("swap", RunningServer.Sample("whisper"));
        GenerationResult fresh = await _client.GenerateTextAsync("hello", Generate.Greedy("swap", 400));
        while (await running.MoveNextAsync())
        {
            streamed.AddRange(running.Current.TokenIds);
        }

        await running.DisposeAsync();
        Assert.Equal(old.TokenIds, streamed);
        Assert.Equal((await _client.GenerateTextAsync("hello", Generate.Greedy("whisper", 400))).TokenIds, fresh.TokenIds);
        Assert.Equal($"swap@{upload.Adapter.Digest}", fresh.Started.Adapters.Single());
        Assert.NotEqual(oldVersion, fresh.Started.Adapters.Single());
        Assert.Equal(old.TokenIds, (await _client.GenerateTextAsync("hello", Generate.Greedy(oldVersion, 400))).TokenIds);
    }

    [Fact]
    public async Task A_staged_version_waits_for_its_activation_and_can_be_rolled_back()
    {
        UploadResponse first = await _adapters.UploadFolderAsync("staged", RunningServer.Sample("shout"));
        UploadResponse second =
            await _adapters.UploadFolderAsync("staged", RunningServer.Sample("whisper"), new UploadOptions { StageOnly = true });
        Assert.False(second.Adapter.Current);
        Assert.Equal(first.Adapter.Digest, (await _adapters.GetAsync("staged")).Digest);

        Assert.True((await _adapters.ActivateAsync($"staged@{second.Adapter.Digest}")).Current);
        Assert.Equal(second.Adapter.Digest, (await _adapters.GetAsync("staged")).Digest);

        await _adapters.ActivateAsync($"staged@{first.Adapter.Digest}");
        Assert.Equal(first.Adapter.Digest, (await _adapters.GetAsync("staged")).Digest);
    }

    [Fact]
    public async Task Activate_asks_for_a_version()
    {
        await _adapters.UploadFolderAsync("unclear", RunningServer.Sample("shout"));

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(() => _adapters.ActivateAsync("unclear"));

        Assert.Equal(StatusCode.InvalidArgument, error.Status);
    }

    [Fact]
    public async Task Lists_come_in_pages_by_name_and_with_old_versions_when_asked()
    {
        for (int i = 0; i < 5; i++)
        {
            await _adapters.UploadFolderAsync($"page-{i}", RunningServer.Sample("shout"));
        }

        await _adapters.UploadFolderAsync("page-2", RunningServer.Sample("whisper"));
        AdapterService.AdapterServiceClient raw = new(fixture.Server.Channel);
        List<string> names = [];
        ListAdaptersRequest request = new() { PageSize = 2 };
        do
        {
            ListAdaptersResponse page = await raw.ListAsync(request);
            Assert.InRange(page.Adapters.Count, 1, 2);
            names.AddRange(page.Adapters.Select(adapter => adapter.Name));
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);

        Assert.Equal(names.Order(StringComparer.Ordinal), names);
        Assert.Equal(5, names.Count(name => name.StartsWith("page-", StringComparison.Ordinal)));
        List<AdapterInfo> all = await _adapters.ListAsync(allVersions: true).Where(a => a.Name == "page-2").ToListAsync();
        Assert.Equal(2, all.Count);
        Assert.Single(all, adapter => adapter.Current);
        await Assert.ThrowsAsync<RpcException>(async () => await raw.ListAsync(new ListAdaptersRequest { PageToken = "\u0001?" }));
        await Assert.ThrowsAsync<RpcException>(async () => await raw.ListAsync(new ListAdaptersRequest { PageSize = -1 }));
    }

    [Fact]
    public async Task Load_brings_an_adapter_onto_the_device_and_unload_says_what_it_freed()
    {
        await _adapters.UploadFolderAsync("place", RunningServer.Sample("shout"));
        Assert.Equal(AdapterState.Validated, (await _adapters.GetAsync("place")).State);

        AdapterInfo loaded = await _adapters.LoadAsync("place");
        UnloadAdapterResponse freed = await _adapters.UnloadAsync("place");

        Assert.Equal(AdapterState.Resident, loaded.State);
        Assert.Equal(loaded.DeviceBytes, freed.FreedDeviceBytes);
        Assert.True(freed.FreedDeviceBytes > 0);
        AdapterInfo after = await _adapters.GetAsync("place");
        Assert.Equal(AdapterState.Validated, after.State);
        Assert.Equal(0, after.DeviceBytes);
        Assert.True((await _client.GenerateTextAsync("hello", Generate.Greedy("place"))).TokenIds.Count > 0);
    }

    [Fact]
    public async Task Unload_waits_for_running_requests()
    {
        await _adapters.UploadFolderAsync("busy", RunningServer.Sample("shout"));
        IAsyncEnumerator<GenerateResponse> running = _client.GenerateAsync(Generate.Request("hello", "busy", 2000)).GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());

        Task<UnloadAdapterResponse> unload = _adapters.UnloadAsync("busy");
        int tokens = running.Current.TokenIds.Count;
        while (await running.MoveNextAsync())
        {
            tokens += running.Current.TokenIds.Count;
        }

        await running.DisposeAsync();
        Assert.Equal(2000, tokens);
        Assert.True((await unload).FreedDeviceBytes > 0);
    }

    [Fact]
    public async Task Pins_hold_until_they_are_taken_away()
    {
        await _adapters.UploadFolderAsync("pinned", RunningServer.Sample("shout"), new UploadOptions { Pin = true });

        AdapterInfo pinned = await _adapters.GetAsync("pinned");
        AdapterInfo unpinned = await _adapters.PinAsync("pinned", pinned: false);
        AdapterInfo again = await _adapters.PinAsync("pinned");

        Assert.True(pinned.Pinned);
        Assert.Equal(AdapterState.Resident, pinned.State);
        Assert.False(unpinned.Pinned);
        Assert.True(again.Pinned);
    }

    [Fact]
    public async Task Pins_outlive_the_server_until_they_are_taken_away_or_unloaded()
    {
        using TemporaryFolder data = new();
        await using (RunningServer first = await RunningServer.StartAsync(data.Path, configure: null))
        {
            foreach (string name in (string[])["kept", "freed", "unloaded"])
            {
                await first.Client.Adapters.UploadFolderAsync(name, RunningServer.Sample("shout"), new UploadOptions { Pin = true });
            }

            await first.Client.Adapters.PinAsync("freed", pinned: false);
            await first.Client.Adapters.UnloadAsync("unloaded");
            Assert.False((await first.Client.Adapters.GetAsync("unloaded")).Pinned);
        }

        await using RunningServer second = await RunningServer.StartAsync(data.Path, configure: null);

        await Eventually.Holds("the pinned adapter is back", async () => (await second.Client.Adapters.GetAsync("kept")).State == AdapterState.Resident);
        Assert.True((await second.Client.Adapters.GetAsync("kept")).Pinned);
        foreach (string name in (string[])["freed", "unloaded"])
        {
            AdapterInfo adapter = await second.Client.Adapters.GetAsync(name);
            Assert.False(adapter.Pinned);
            Assert.Equal(AdapterState.Validated, adapter.State);
        }
    }

    [Fact]
    public async Task A_pinned_adapter_that_no_longer_fits_keeps_nobody_from_being_served()
    {
        using TemporaryFolder data = new();
        await using (RunningServer first = await RunningServer.StartAsync(data.Path, configure: null))
        {
            await first.Client.Adapters.UploadFolderAsync("kept", RunningServer.Sample("shout"), new UploadOptions { Pin = true });
        }

        await using RunningServer second = await RunningServer.StartAsync(data.Path, configure: null, "--adapter-device-memory", "1");

        int tokens = 0;
        await foreach (GenerateResponse part in second.Client.GenerateAsync("hello", Generate.Greedy()))
        {
            tokens += part.TokenIds.Count;
        }

        Assert.Equal(24, tokens);
        AdapterInfo adapter = await second.Client.Adapters.GetAsync("kept");
        Assert.True(adapter.Pinned);
        Assert.Equal(AdapterState.Validated, adapter.State);
    }

    [Fact]
    public async Task Delete_removes_a_version_or_all_of_them()
    {
        UploadResponse first = await _adapters.UploadFolderAsync("doomed", RunningServer.Sample("shout"));
        UploadResponse second = await _adapters.UploadFolderAsync("doomed", RunningServer.Sample("whisper"));

        InferenceException unclear = await Assert.ThrowsAsync<InferenceException>(() => _adapters.DeleteAsync("doomed"));
        DeleteAdapterResponse all = await _adapters.DeleteAsync("doomed", allVersions: true);

        Assert.Equal(StatusCode.FailedPrecondition, unclear.Status);
        Assert.Equal(2, all.DeletedVersions);
        Assert.Equal(first.Adapter.DiskBytes + second.Adapter.DiskBytes, all.FreedDiskBytes);
        InferenceException gone = await Assert.ThrowsAsync<InferenceException>(() => _adapters.GetAsync("doomed"));
        Assert.Equal(StatusCode.NotFound, gone.Status);
    }

    [Fact]
    public async Task Requests_are_counted()
    {
        await _adapters.UploadFolderAsync("counted", RunningServer.Sample("shout"));
        for (int i = 0; i < 3; i++)
        {
            await _client.GenerateTextAsync("hello", Generate.Greedy("counted", 2));
        }

        AdapterInfo info = await _adapters.GetAsync("counted");

        Assert.Equal(3, info.Requests);
        Assert.NotNull(info.LastUsedAt);
        await Eventually.Holds("the last request has left", async () => (await _adapters.GetAsync("counted")).RunningRequests == 0);
    }

    [Theory]
    [InlineData("get")]
    [InlineData("load")]
    [InlineData("unload")]
    [InlineData("delete")]
    [InlineData("pin")]
    [InlineData("activate")]
    [InlineData("merge")]
    public async Task What_does_not_exist_is_not_found_by_each_call(string call)
    {
        string missing = $"missing@{new string('0', 64)}";

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(() => (Task)(call switch
        {
            "get" => _adapters.GetAsync(missing),
            "load" => _adapters.LoadAsync(missing),
            "unload" => _adapters.UnloadAsync(missing),
            "delete" => _adapters.DeleteAsync(missing),
            "pin" => _adapters.PinAsync(missing),
            "activate" => _adapters.ActivateAsync(missing),
            _ => _adapters.MergeAsync(missing),
        }));

        Assert.Equal(StatusCode.NotFound, error.Status);
        Assert.Contains("missing", error.Message, StringComparison.Ordinal);
    }

    private async Task<GenerationResult> ResultAsync(string name, string sample, int tokens)
    {
        await _adapters.UploadFolderAsync(name, RunningServer.Sample(sample));
        return await _client.GenerateTextAsync("hello", Generate.Greedy(name, tokens));
    }

    private sealed class Progress(Action<UploadProgress> report) : IProgress<UploadProgress>
    {
        public void Report(UploadProgress value) => report(value);
    }
}
