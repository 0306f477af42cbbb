using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

/// <summary>What happens to one request is nobody else's business.</summary>
public sealed class EngineIsolationTests
{
    private static readonly GenerationRequest[] s_bystanders =
    [
        EngineHost.Request("What does the bystander say?", 40),
        EngineHost.Request("And the one with an adapter?", 40, new AdapterReference("lora-1")),
    ];

    [Fact]
    public async Task A_reader_that_never_reads_holds_up_nobody_and_finds_everything_later()
    {
        GenerationRequest unread = EngineHost.Request("Nobody reads this for a long while", 200);
        EngineHost.Result expected = await AloneAsync(unread);
        await using EngineHost host = await EngineHost.StartAsync();

        await using GenerationStream stream = await host.Engine.SubmitAsync(unread);
        await AssertBystandersAsync(host);
        await stream.Completion.WaitAsync(EngineHost.Patience);

        // The loop ended it without a reader; who comes late gets all of it at once.
        EngineHost.Result result = await EngineHost.ReadAsync(stream);
        result.AssertSame(expected);
        Assert.Equal(1, result.Chunks);
    }

    [Fact]
    public async Task A_cancelled_request_ends_and_disturbs_nobody()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        using CancellationTokenSource cancel = new();
        await using GenerationStream stream = await host.Engine.SubmitAsync(EngineHost.Request("This one is given up", 400, new AdapterReference("lora-0")));

        Task bystanders = AssertBystandersAsync(host);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GenerationChunk chunk in stream.ReadAllAsync(cancel.Token))
            {
                Assert.Equal(FinishReason.None, chunk.FinishReason);
                await cancel.CancelAsync();
            }
        });

        await stream.Completion.WaitAsync(EngineHost.Patience);
        await bystanders;
    }

    [Fact]
    public async Task A_stream_disposed_early_cancels_its_request()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        GenerationStream stream = await host.Engine.SubmitAsync(EngineHost.Request("Left without a word", 400));

        await stream.DisposeAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await EngineHost.ReadAsync(stream));
        await AssertBystandersAsync(host);
    }

    [Fact]
    public async Task A_request_expires_while_it_runs_and_disturbs_nobody()
    {
        ManualTime time = new();
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { Time = time });
        GenerationRequest request = EngineHost.Request("Until the clock strikes", 400, new AdapterReference("lora-0")) with
        {
            Deadline = time.GetUtcNow() + TimeSpan.FromSeconds(10),
        };
        await using GenerationStream stream = await host.Engine.SubmitAsync(request);

        Task bystanders = AssertBystandersAsync(host);
        DeadlineExpiredException error = await Assert.ThrowsAsync<DeadlineExpiredException>(async () =>
        {
            await foreach (GenerationChunk chunk in stream.ReadAllAsync())
            {
                Assert.Equal(FinishReason.None, chunk.FinishReason);
                time.Advance(TimeSpan.FromSeconds(10));
            }
        });

        Assert.Contains("new tokens", error.Message, StringComparison.Ordinal);
        await bystanders;
    }

    [Fact]
    public async Task A_request_expires_in_the_queue()
    {
        ManualTime time = new();
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions
        {
            Time = time,
            Scheduler = new SchedulerOptions { MaxBatchTokens = 64, MaxRunningSequences = 1, KvBlockSize = 8 },
        });
        await using GenerationStream running = await host.Engine.SubmitAsync(EngineHost.Request("Takes the only place", 400));
        await using GenerationStream waiting = await host.Engine.SubmitAsync(
            EngineHost.Request("Waits behind it", 5) with { Deadline = time.GetUtcNow() + TimeSpan.FromSeconds(1) });

        time.Advance(TimeSpan.FromSeconds(2));

        DeadlineExpiredException error = await Assert.ThrowsAsync<DeadlineExpiredException>(() => EngineHost.ReadAsync(waiting));
        Assert.Contains("after 0 new tokens", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_request_expires_while_its_adapter_is_loaded()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        using ManualResetEventSlim release = new();
        host.Source.OnLoad = (_, cancellation) => release.Wait(EngineHost.Patience, cancellation);
        GenerationRequest request = EngineHost.Request("Waits for its adapter", 5, new AdapterReference("lora-0")) with
        {
            Deadline = DateTimeOffset.UtcNow + TimeSpan.FromMilliseconds(50),
        };

        await Assert.ThrowsAsync<DeadlineExpiredException>(() => host.Engine.SubmitAsync(request));

        // Nobody else has waited for that adapter meanwhile.
        await host.GenerateAsync(s_bystanders[0]);
        release.Set();
        Assert.Equal(0, host.Engine.Snapshot().Waiting);
    }

    [Fact]
    public async Task A_failing_step_fails_its_requests_and_the_next_ones_are_served()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        int steps = 0;
        host.Backend.OnBeginStep = _ =>
        {
            if (++steps == 5)
            {
                throw new InvalidOperationException("the machine hiccups");
            }
        };

        GenerationFailedException error = await Assert.ThrowsAsync<GenerationFailedException>(() => host.GenerateAsync(s_bystanders[1]));

        Assert.Contains("the machine hiccups", error.Message, StringComparison.Ordinal);
        await AssertBystandersAsync(host);
        Assert.Equal(0, host.Engine.Snapshot().KvBlocksUsed);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Logits_that_are_no_numbers_fail_only_their_own_request(bool drawsByBackend)
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { DrawsByBackend = drawsByBackend });
        int vocabulary = host.Transformer.Config.VocabularySize;
        int row = -1;
        host.Backend.OnBeginStep = step =>
        {
            // The poisoned request is the only one with adapters; its rows come last in the batch, behind the base's.
            row = step.SampledLora.Groups.IsEmpty || step.SampledRows.Length < 2 ? -1 : step.SampledLora.Groups[0].FirstRow;
        };
        host.Backend.OnRead = logits =>
        {
            if (row >= 0)
            {
                logits[row * vocabulary] = float.NaN;
            }
        };
        EngineHost.Result expected = await AloneAsync(s_bystanders[0] with { Stopping = new StoppingCriteria { MaxTokens = 200, IgnoreEos = true } });

        Task<EngineHost.Result> bystander = host.GenerateAsync(
            s_bystanders[0] with { Stopping = new StoppingCriteria { MaxTokens = 200, IgnoreEos = true } });
        Task<EngineHost.Result> poisoned = host.GenerateAsync(EngineHost.Request("Poisoned", 300, new AdapterReference("lora-0")));

        GenerationFailedException error = await Assert.ThrowsAsync<GenerationFailedException>(() => poisoned);
        Assert.Contains("not finite", error.Message, StringComparison.Ordinal);
        (await bystander).AssertSame(expected);
    }

    private static async Task AssertBystandersAsync(EngineHost host)
    {
        EngineHost.Result[] results = await Task.WhenAll(s_bystanders.Select(host.GenerateAsync)).WaitAsync(EngineHost.Patience);
        for (int i = 0; i < results.Length; i++)
        {
            results[i].AssertSame(await AloneAsync(s_bystanders[i]));
        }
    }

    private static async Task<EngineHost.Result> AloneAsync(GenerationRequest request)
    {
        await using EngineHost host = await EngineHost.StartAsync();
        return await host.GenerateAsync(request);
    }
}
