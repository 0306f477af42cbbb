using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Robustness;

/// <summary>What one client does, or stops doing, is nobody else's business.</summary>
public class DisturbanceTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private const int LongTokens = 1800;

    private readonly InferenceClient _client = fixture.Client;

    [Fact]
    public async Task A_slow_reader_gets_everything_and_holds_nobody_up()
    {
        // With 20 log-probabilities a token the answer is far larger than the windows and buffers between the two ends.
        GenerateRequest slow = Generate.Request("hello", "whisper", LongTokens);
        slow.Output = new OutputOptions { Logprobs = 20 };
        List<int> alone = await IdsAsync(slow);
        IReadOnlyList<int> neighbour = (await _client.GenerateTextAsync("hello", Generate.Greedy("shout", 200))).TokenIds;

        await using IAsyncEnumerator<GenerateResponse> reader = _client.GenerateAsync(slow).GetAsyncEnumerator();
        Assert.True(await reader.MoveNextAsync());
        List<int> read = [.. reader.Current.TokenIds];
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(neighbour, (await _client.GenerateTextAsync("hello", Generate.Greedy("shout", 200))).TokenIds);
        }

        // The engine has long finished what the reader has not read.
        await Eventually.Holds("the engine is done", async () => (await _client.GetInfoAsync()).Load.Running == 0);
        while (await reader.MoveNextAsync())
        {
            read.AddRange(reader.Current.TokenIds);
        }

        Assert.Equal(alone, read);
    }

    [Fact]
    public async Task A_cancelled_request_ends_at_once_and_its_neighbours_do_not_notice()
    {
        IReadOnlyList<int> expected = (await _client.GenerateTextAsync("hello", Generate.Greedy("shout", 200))).TokenIds;
        Task<GenerationResult> neighbour = _client.GenerateTextAsync("hello", Generate.Greedy("shout", 200));

        for (int i = 0; i < 10; i++)
        {
            using CancellationTokenSource cancel = new();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
            {
                GenerateRequest request = Generate.Request("hello", "whisper", LongTokens);
                await foreach (GenerateResponse _ in _client.GenerateAsync(request, cancellationToken: cancel.Token))
                {
                    await cancel.CancelAsync();
                }
            });
        }

        Assert.Equal(expected, (await neighbour).TokenIds);
        await Eventually.Holds("nothing runs any more", async () => (await _client.GetInfoAsync()).Load is { Running: 0, Waiting: 0, });
        await Eventually.Holds("no lease is left", async () => (await _client.Adapters.GetAsync("whisper")).RunningRequests == 0);
    }

    [Fact]
    public async Task A_request_whose_deadline_passes_says_so_and_its_neighbours_do_not_notice()
    {
        IReadOnlyList<int> expected = (await _client.GenerateTextAsync("hello", Generate.Greedy("shout", 200))).TokenIds;
        Task<GenerationResult> neighbour = _client.GenerateTextAsync("hello", Generate.Greedy("shout", 200));

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            () => _client.GenerateTextAsync(
                "hello", Generate.Greedy("whisper", LongTokens) with { Timeout = TimeSpan.FromMilliseconds(30) }));

        Assert.Equal(StatusCode.DeadlineExceeded, error.Status);
        Assert.Equal(expected, (await neighbour).TokenIds);
        await Eventually.Holds("nothing runs any more", async () => (await _client.GetInfoAsync()).Load is { Running: 0, Waiting: 0 });
    }

    [Fact]
    public async Task A_full_queue_refuses_with_a_time_to_try_again()
    {
        await using RunningServer server = await RunningServer.StartAsync("--max-running", "1", "--max-queue", "1");
        GenerationSettings settings = Generate.Greedy(tokens: 500);

        Task<GenerationResult>[] burst = [.. Enumerable.Range(0, 16).Select(_ => server.Client.GenerateTextAsync("hello", settings))];
        List<InferenceException> refused = [];
        List<GenerationResult> served = [];
        foreach (Task<GenerationResult> one in burst)
        {
            try
            {
                served.Add(await one);
            }
            catch (InferenceException error)
            {
                refused.Add(error);
            }
        }

        Assert.NotEmpty(served);
        Assert.NotEmpty(refused);
        Assert.All(refused, error => Assert.Equal(StatusCode.ResourceExhausted, error.Status));
        Assert.All(refused, error => Assert.True(error.RetryAfter > TimeSpan.Zero));
        Assert.Single(served.Select(result => result.Text).Distinct());
    }

    private async Task<List<int>> IdsAsync(GenerateRequest request)
    {
        List<int> ids = [];
        await foreach (GenerateResponse message in _client.GenerateAsync(request))
        {
            ids.AddRange(message.TokenIds);
        }

        return ids;
    }
}
