using System.Collections.Concurrent;
using InferenceServer.Client;
using InferenceServer.IntegrationTests.Adapters;
using InferenceServer.Protocol.V1;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.Crash;

/// <summary>
/// kill -9 at 50 random points of uploads, loads, merges and generations: what was acknowledged is there afterwards, whole.
/// </summary>
[Trait("Category", "Slow")]
public class KillTests(ITestOutputHelper output)
{
    private const int Rounds = 50;
    private const int LongestDelayMilliseconds = 400;

    // Written by the tasks that keep the server busy.
    private int _loads;
    private int _merges;
    private int _generations;

    [Fact]
    public async Task Killed_50_times_the_server_keeps_every_acknowledged_adapter_and_no_half_one()
    {
        using TemporaryFolder data = new();
        using TemporaryFolder adapters = new();
        string[] folders = [.. Enumerable.Range(0, 8).Select(i => Path.Combine(adapters.Path, $"a{i}"))];
        for (int i = 0; i < folders.Length; i++)
        {
            AdapterMaker.WriteRandom(folders[i], seed: (ulong)i + 1, rank: i + 1);
        }

        Random random = new(20261122);
        ConcurrentDictionary<string, string> acknowledged = new(StringComparer.Ordinal); // name@digest to the folder it came from
        Dictionary<string, IReadOnlyList<int>> expected = await ExpectedAsync(folders);
        int found = 0;
        for (int round = 0; round < Rounds; round++)
        {
            using ServerProcess server = await ServerProcess.StartAsync(data.Path);
            found += await CheckAsync(server.Client, data.Path, acknowledged, expected, random, everything: false);
            int[] seeds = [.. Enumerable.Range(0, 5).Select(_ => random.Next())];
            using CancellationTokenSource killed = new();
            Task work = Task.WhenAll(
                UploadAsync(server.Client, folders, acknowledged, round, new Random(seeds[0]), killed.Token),
                UploadAsync(server.Client, folders, acknowledged, round, new Random(seeds[1]), killed.Token),
                LoadAsync(server.Client, acknowledged, new Random(seeds[2]), killed.Token),
                MergeAsync(server.Client, acknowledged, new Random(seeds[3]), killed.Token),
                GenerateAsync(server.Client, acknowledged, new Random(seeds[4]), killed.Token));

            await Task.Delay(random.Next(LongestDelayMilliseconds));
            await server.KillAsync();
            await killed.CancelAsync();
            await work;
        }

        using ServerProcess last = await ServerProcess.StartAsync(data.Path);
        found += await CheckAsync(last.Client, data.Path, acknowledged, expected, random, everything: true);
        output.WriteLine(
            $"{Rounds} kills amid {acknowledged.Count} acknowledged uploads, {_loads} loads, {_merges} merges, {_generations} generations; "
            + $"{found} adapters checked after restarts");
        Assert.True(acknowledged.Count > Rounds / 2, $"only {acknowledged.Count} uploads were acknowledged: the test hardly tests");
        Assert.True(_loads > 0 && _merges > 0 && _generations > 0, "a kind of work was never done");
    }

    /// <summary>The greedy tokens of each adapter folder, from a server that nobody kills.</summary>
    private static async Task<Dictionary<string, IReadOnlyList<int>>> ExpectedAsync(string[] folders)
    {
        await using RunningServer server = await RunningServer.StartAsync();
        Dictionary<string, IReadOnlyList<int>> expected = new(StringComparer.Ordinal);
        for (int i = 0; i < folders.Length; i++)
        {
            await server.Client.Adapters.UploadFolderAsync($"a{i}", folders[i]);
            expected[folders[i]] = (await server.Client.GenerateTextAsync("hello", Generate.Greedy($"a{i}", 8))).TokenIds;
        }

        Assert.Equal(folders.Length, expected.Values.Select(ids => string.Join(',', ids)).Distinct().Count());
        return expected;
    }

    /// <summary>After a restart: every acknowledged version is listed, nothing lies about, and adapters say what they should.</summary>
    private static async Task<int> CheckAsync(
        InferenceClient client,
        string data,
        ConcurrentDictionary<string, string> acknowledged,
        Dictionary<string, IReadOnlyList<int>> expected,
        Random random,
        bool everything)
    {
        List<AdapterInfo> listed = await client.Adapters.ListAsync(allVersions: true).ToListAsync();
        HashSet<string> ids = [.. listed.Select(adapter => $"{adapter.Name}@{adapter.Digest}")];
        Assert.DoesNotContain(acknowledged.Keys, id => !ids.Contains(id));
        string staging = Path.Combine(data, "staging");
        Assert.Empty(Directory.Exists(staging) ? Directory.GetFileSystemEntries(staging) : []);

        // An upload whose answer was lost may be there too; then it has to be as whole as the others.
        HashSet<string> outcomes = [.. expected.Values.Select(tokens => string.Join(',', tokens))];
        AdapterInfo[] chosen = everything ? [.. listed] : [.. listed.OrderBy(_ => random.Next()).Take(4)];
        foreach (AdapterInfo adapter in chosen)
        {
            string id = $"{adapter.Name}@{adapter.Digest}";
            IReadOnlyList<int> tokens = (await client.GenerateTextAsync("hello", Generate.Greedy(id, 8))).TokenIds;
            if (acknowledged.TryGetValue(id, out string? folder))
            {
                Assert.Equal(expected[folder], tokens);
            }
            else
            {
                Assert.Contains(string.Join(',', tokens), outcomes);
            }
        }

        return chosen.Length;
    }

    private static Task UploadAsync(
        InferenceClient client,
        string[] folders,
        ConcurrentDictionary<string, string> acknowledged,
        int round,
        Random random,
        CancellationToken killed)
    {
        return UntilKilledAsync(async () =>
        {
            string folder = folders[random.Next(folders.Length)];
            UploadResponse reply = await client.Adapters.UploadFolderAsync($"t{round}-{random.Next(3)}", folder, cancellationToken: killed);
            acknowledged[$"{reply.Adapter.Name}@{reply.Adapter.Digest}"] = folder;
        }, killed);
    }

    private Task LoadAsync(
        InferenceClient client, ConcurrentDictionary<string, string> acknowledged, Random random, CancellationToken killed)
    {
        return UntilKilledAsync(async () =>
        {
            if (Pick(acknowledged, random) is { } id)
            {
                await client.Adapters.LoadAsync(id, killed);
                Interlocked.Increment(ref _loads);
                await client.Adapters.UnloadAsync(id, killed);
            }
        }, killed);
    }

    private Task MergeAsync(
        InferenceClient client, ConcurrentDictionary<string, string> acknowledged, Random random, CancellationToken killed)
    {
        return UntilKilledAsync(async () =>
        {
            if (Pick(acknowledged, random) is { } id)
            {
                await client.Adapters.MergeAsync(id, killed);
                Interlocked.Increment(ref _merges);
                await client.Adapters.UnmergeAsync("", killed);
            }
        }, killed);
    }

    private Task GenerateAsync(
        InferenceClient client, ConcurrentDictionary<string, string> acknowledged, Random random, CancellationToken killed)
    {
        return UntilKilledAsync(async () =>
        {
            await client.GenerateTextAsync("hello", Generate.Greedy(Pick(acknowledged, random) ?? "", 64), killed);
            Interlocked.Increment(ref _generations);
        }, killed);
    }

    private static string? Pick(ConcurrentDictionary<string, string> acknowledged, Random random)
    {
        string[] ids = [.. acknowledged.Keys];
        return ids.Length == 0 ? null : ids[random.Next(ids.Length)];
    }

    /// <summary>Repeats until the server is gone; what fails then is not looked at, what succeeded before counts.</summary>
    private static async Task UntilKilledAsync(Func<Task> step, CancellationToken killed)
    {
        while (!killed.IsCancellationRequested)
        {
            try
            {
                await step();
            }
            catch (Exception error) when (error is InferenceException or OperationCanceledException)
            {
                await Task.Yield();
            }
        }
    }
}
