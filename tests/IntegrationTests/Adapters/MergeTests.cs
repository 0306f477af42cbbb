using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Adapters;

/// <summary>Merging changes what is fast, not what is said; a server of its own, because there is one base to merge into.</summary>
public class MergeTests
{
    [Fact]
    public async Task Everybody_gets_the_same_text_before_during_and_after_a_merge()
    {
        await using RunningServer server = await StartAsync();
        IReadOnlyList<int>[] before = await AllAsync(server);

        MergeAdapterResponse merge = await server.Client.Adapters.MergeAsync("shout");
        IReadOnlyList<int>[] during = await AllAsync(server);
        ServerInfo info = await server.Client.GetInfoAsync();
        UnmergeAdapterResponse unmerge = await server.Client.Adapters.UnmergeAsync();
        IReadOnlyList<int>[] after = await AllAsync(server);

        Assert.True(merge.Adapter.Merged);
        Assert.Equal(5, merge.MergedModules);
        Assert.True(merge.ExtraBytes > 0);
        Assert.InRange(merge.LogitChange.Tenant, 0f, 0.1f);
        Assert.InRange(merge.LogitChange.Others, float.Epsilon, 0.1f);
        Assert.True(merge.LogitChange.LargestLogit > 1);
        Assert.Equal($"shout@{merge.Adapter.Digest}", info.MergedAdapter);
        Assert.Equal(info.MergedAdapter, unmerge.Adapter);
        Assert.True(unmerge.FreedBytes > 0);
        Assert.Equal(before, during);
        Assert.Equal(before, after);
        Assert.Equal("", (await server.Client.GetInfoAsync()).MergedAdapter);
    }

    [Fact]
    public async Task A_merge_while_generations_run_disturbs_none_of_them()
    {
        await using RunningServer server = await StartAsync();
        IReadOnlyList<int>[] before = await AllAsync(server, tokens: 300);

        Task<IReadOnlyList<int>[]> running = AllAsync(server, tokens: 300);
        await server.Client.Adapters.MergeAsync("whisper");
        await server.Client.Adapters.UnmergeAsync("whisper");

        Assert.Equal(before, await running);
    }

    [Fact]
    public async Task Unmerge_without_a_merge_is_a_failed_precondition()
    {
        await using RunningServer server = await StartAsync();

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(() => server.Client.Adapters.UnmergeAsync());

        Assert.Equal(StatusCode.FailedPrecondition, error.Status);
    }

    private static async Task<RunningServer> StartAsync()
    {
        RunningServer server = await RunningServer.StartAsync();
        await server.Client.Adapters.UploadFolderAsync("shout", RunningServer.Sample("shout"));
        await server.Client.Adapters.UploadFolderAsync("whisper", RunningServer.Sample("whisper"));
        return server;
    }

    private static async Task<IReadOnlyList<int>[]> AllAsync(RunningServer server, int tokens = 32)
    {
        GenerationResult[] results = await Task.WhenAll(((string[])["", "shout", "whisper"])
            .Select(adapter => server.Client.GenerateTextAsync("hello", Generate.Greedy(adapter, tokens))));
        return [.. results.Select(result => result.TokenIds)];
    }
}
