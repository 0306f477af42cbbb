using System.Text.Json;
using InferenceServer.AdapterStore;
using InferenceServer.Engine;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.TestKit.TinyModel;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

/// <summary>What comes in at the front door and what goes out of it.</summary>
public sealed class EngineDoorTests
{
    public static TheoryData<string, GenerationRequest> BadRequests()
    {
        GenerationRequest good = EngineHost.Request("fine", 5);
        return new TheoryData<string, GenerationRequest>
        {
            { "request_id", good with { RequestId = new string('x', 129) } },
            { "text", good with { Prompt = new TextPrompt("") } },
            { "token_ids", good with { Prompt = new TokenPrompt([]) } },
            { "token_ids", good with { Prompt = new TokenPrompt([1, 260]) } },
            { "token_ids", good with { Prompt = new TokenPrompt([-1]) } },
            { "prompt", good with { Prompt = new TokenPrompt(new int[512]) } },
            { "chat", good with { Prompt = new ChatPrompt(JsonDocument.Parse("\"no list\"").RootElement, true, null, null) } },
            { "sampling.temperature", good with { Sampling = new SamplingParameters { Temperature = -1f } } },
            { "sampling.min_p", good with { Sampling = new SamplingParameters { MinP = 2f } } },
            { "sampling.no_repeat_ngram_size", good with { Sampling = new SamplingParameters { NoRepeatNgramSize = -1 } } },
            { "stopping.max_tokens", good with { Stopping = new StoppingCriteria { MaxTokens = 0 } } },
            { "stopping.min_tokens", good with { Stopping = new StoppingCriteria { MinTokens = -1 } } },
            { "stopping.stop", good with { Stopping = new StoppingCriteria { Stop = [""] } } },
            { "stopping.stop", good with { Stopping = new StoppingCriteria { Stop = [.. Enumerable.Repeat("x", 17)] } } },
            { "stopping.stop_token_ids", good with { Stopping = new StoppingCriteria { StopTokenIds = [1000] } } },
            { "output.logprobs", good with { Output = new OutputOptions(21) } },
            { "adapters", good with { Adapters = [.. Enumerable.Repeat(new AdapterReference("lora-0"), 9)] } },
            { "adapters.weight", good with { Adapters = [new AdapterReference("lora-0", float.NaN)] } },
        };
    }

    [Fact]
    public async Task Bad_requests_are_refused_by_field_and_leave_no_trace()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        foreach (object[] row in BadRequests())
        {
            InvalidRequestException error = await Assert.ThrowsAsync<InvalidRequestException>(() => host.Engine.SubmitAsync((GenerationRequest)row[1]));
            Assert.Equal((string)row[0], error.Field);
        }

        await Assert.ThrowsAsync<AdapterNotFoundException>(() => host.Engine.SubmitAsync(EngineHost.Request("x", 5, new AdapterReference("nobody"))));
        Assert.Equal(0, host.Engine.Snapshot().Waiting);
        await host.GenerateAsync(EngineHost.Request("fine", 5));
    }

    [Fact]
    public async Task A_request_that_never_fits_the_cache_is_refused_and_a_default_is_cut_to_it()
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { KvBlocks = 4 });
        int[] prompt = [.. Enumerable.Range(0, 20)];
        GenerationRequest request = EngineHost.Request("", 20) with { Prompt = new TokenPrompt(prompt) };

        InvalidRequestException error = await Assert.ThrowsAsync<InvalidRequestException>(() => host.Engine.SubmitAsync(request));
        Assert.Equal("stopping.max_tokens", error.Field);
        Assert.Contains("32", error.Message, StringComparison.Ordinal);

        // 32 places: 20 for the prompt, and the last new token needs none.
        EngineHost.Result result = await host.GenerateAsync(request with { Stopping = new StoppingCriteria { IgnoreEos = true } });
        Assert.Equal(13, result.Tokens.Count);
    }

    [Fact]
    public async Task Max_tokens_is_bounded_by_the_context()
    {
        await using EngineHost host = await EngineHost.StartAsync();

        EngineHost.Result result = await host.GenerateAsync(EngineHost.Request("", 1000) with { Prompt = new TokenPrompt(new int[500]) });

        Assert.Equal(12, result.Tokens.Count);
        Assert.Equal(FinishReason.Length, result.FinishReason);
    }

    [Fact]
    public async Task A_chat_is_rendered_by_the_template_without_further_special_tokens()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        JsonElement messages = JsonDocument.Parse("""[{"role":"user","content":"Hi"}]""").RootElement;
        GenerationRequest chat = EngineHost.Request("", 8) with { Prompt = new ChatPrompt(messages, true, null, null) };
        int[] rendered = [TinyLlama.BeginToken, .. "user: Hi\nassistant: ".Select(letter => (int)letter)];

        EngineHost.Result result = await host.GenerateAsync(chat);

        Assert.Equal(rendered.Length, result.Usage!.PromptTokens);
        EngineHost.Result tokens = await host.GenerateAsync(chat with { Prompt = new TokenPrompt(rendered) });
        Assert.Equal(tokens.Tokens, result.Tokens);
    }

    [Fact]
    public async Task A_stop_string_ends_the_text_wherever_tokens_cut_it()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        GenerationRequest request = EngineHost.Request("Tell me something", 60);
        EngineHost.Result whole = await host.GenerateAsync(request);
        string stop = whole.Text.Substring(10, 3);
        int first = whole.Text.IndexOf(stop, StringComparison.Ordinal);

        EngineHost.Result stopped = await host.GenerateAsync(request with { Stopping = request.Stopping with { Stop = ["never there", stop] } });

        Assert.Equal(whole.Text[..first], stopped.Text);
        Assert.Equal(FinishReason.Stop, stopped.FinishReason);
        Assert.Equal(stop, stopped.StopReason);
        Assert.Equal(whole.Tokens.Take(stopped.Tokens.Count), stopped.Tokens);
        Assert.Equal(stopped.Tokens.Count, stopped.Usage!.CompletionTokens);
    }

    [Fact]
    public async Task A_stop_token_ends_the_generation_is_counted_and_has_no_text()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        GenerationRequest request = EngineHost.Request("Tell me something", 40);
        EngineHost.Result whole = await host.GenerateAsync(request);
        int stop = whole.Tokens[7];
        int place = whole.Tokens.IndexOf(stop);

        EngineHost.Result stopped = await host.GenerateAsync(request with { Stopping = request.Stopping with { StopTokenIds = [stop] } });

        Assert.Equal(whole.Tokens.Take(place + 1), stopped.Tokens);
        Assert.Equal(FinishReason.Stop, stopped.FinishReason);
        Assert.True(stopped.Text.Length < whole.Text.Length);

        // With a minimum the token is not even drawn before.
        EngineHost.Result later = await host.GenerateAsync(
            request with { Stopping = request.Stopping with { StopTokenIds = [stop], MinTokens = place + 5 } });
        Assert.DoesNotContain(stop, later.Tokens.Take(place + 4));
    }

    [Fact]
    public async Task Text_in_chunks_is_the_text_of_the_tokens()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        GenerationRequest request = EngineHost.Request("Grüße", 50) with { Sampling = new SamplingParameters { Temperature = 1.5f, Seed = 3 } };

        EngineHost.Result result = await host.GenerateAsync(request);

        byte[] bytes = [.. result.Tokens.Where(token => token < 256).Select(token => (byte)token)];
        Assert.Equal(System.Text.Encoding.UTF8.GetString(bytes), result.Text);
    }

    [Fact]
    public async Task A_full_queue_refuses_with_a_delay_and_takes_again_later()
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions
        {
            Scheduler = new SchedulerOptions { MaxBatchTokens = 64, MaxRunningSequences = 1, KvBlockSize = 8, MaxWaiting = 2 },
        });
        using ManualResetEventSlim hold = new();
        using ManualResetEventSlim began = new();
        host.Backend.OnBeginStep = _ =>
        {
            began.Set();
            hold.Wait(EngineHost.Patience);
        };
        List<GenerationStream> streams = [await host.Engine.SubmitAsync(EngineHost.Request("runs", 3))];
        Assert.True(began.Wait(EngineHost.Patience), "the first step");
        streams.Add(await host.Engine.SubmitAsync(EngineHost.Request("waits", 3)));
        streams.Add(await host.Engine.SubmitAsync(EngineHost.Request("waits too", 3)));

        QueueFullException error = await Assert.ThrowsAsync<QueueFullException>(() => host.Engine.SubmitAsync(EngineHost.Request("one too many", 3)));

        Assert.True(error.RetryAfter > TimeSpan.Zero);
        Assert.Equal(2, host.Engine.Snapshot().Waiting);
        hold.Set();
        foreach (GenerationStream stream in streams)
        {
            await EngineHost.ReadAsync(stream).WaitAsync(EngineHost.Patience);
            await stream.DisposeAsync();
        }

        await host.GenerateAsync(EngineHost.Request("later", 3));
        Assert.Equal(0, host.Engine.Snapshot().Waiting);
    }

    [Fact]
    public async Task Stopping_lets_requests_finish_within_the_time_to_drain()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        await using GenerationStream stream = await host.Engine.SubmitAsync(EngineHost.Request("May finish", 100));

        await host.Engine.StopAsync(EngineHost.Patience);

        Assert.Equal(100, (await EngineHost.ReadAsync(stream)).Tokens.Count);
        Assert.Equal(EngineState.Stopped, host.Engine.State);
        await Assert.ThrowsAsync<EngineStoppedException>(() => host.Engine.SubmitAsync(EngineHost.Request("Too late", 5)));
    }

    [Fact]
    public async Task Stopping_at_once_fails_what_runs_and_returns_its_adapters()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        await using GenerationStream stream = await host.Engine.SubmitAsync(EngineHost.Request("Cut off", 450, new AdapterReference("lora-0")));

        await host.Engine.StopAsync(TimeSpan.Zero);

        GenerationFailedException error = await Assert.ThrowsAsync<GenerationFailedException>(() => EngineHost.ReadAsync(stream));
        Assert.Contains("stopping", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_fault_of_the_loop_itself_fails_everybody_and_is_seen()
    {
        ManualTime time = new();
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { Time = time });
        await using GenerationStream stream = await host.Engine.SubmitAsync(EngineHost.Request("Runs", 450, new AdapterReference("lora-0")));

        time.IsBroken = true;

        GenerationFailedException error = await Assert.ThrowsAsync<GenerationFailedException>(() => EngineHost.ReadAsync(stream));
        Assert.Contains("the engine failed", error.Message, StringComparison.Ordinal);
        Assert.Equal(EngineState.Faulted, host.Engine.State);
        await Assert.ThrowsAsync<EngineStoppedException>(() => host.Engine.SubmitAsync(EngineHost.Request("x", 5)));
    }

    [Fact]
    public async Task A_storm_of_requests_readers_and_cancellations_leaves_nothing_behind()
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { KvBlocks = 40, AdapterBytes = 60_000 });
        AdapterReference[][] stacks = [[], [new("lora-0")], [new("lora-1")], [new("lora-2"), new("lora-3")], [new("lora-3")]];
        int finished = 0;

        await Task.WhenAll(Enumerable.Range(0, 150).Select(async i =>
        {
            Random random = new(i);
            using CancellationTokenSource cancel = new();
            try
            {
                Task<GenerationStream> submit = host.Engine.SubmitAsync(
                    EngineHost.Request($"request {i} of many", random.Next(1, 60), stacks[i % stacks.Length]), cancel.Token);
                if (i % 7 == 0)
                {
                    await cancel.CancelAsync();
                }

                await using GenerationStream stream = await submit;
                int chunks = random.Next(0, 6);
                await foreach (GenerationChunk chunk in stream.ReadAllAsync(cancel.Token))
                {
                    if (i % 3 == 0 && --chunks < 0)
                    {
                        // Left, or cancelled, in the middle.
                        if (i % 2 == 0)
                        {
                            break;
                        }

                        await cancel.CancelAsync();
                    }

                    Interlocked.Add(ref finished, chunk.FinishReason == FinishReason.None ? 0 : 1);
                }
            }
            catch (OperationCanceledException)
            {
                Assert.True(cancel.IsCancellationRequested);
            }
        })).WaitAsync(EngineHost.Patience);

        EngineSnapshot end = host.Engine.Snapshot();
        Assert.Equal((0, 0, 0), (end.Running, end.Waiting, end.KvBlocksUsed));
        Assert.True(finished > 50, $"{finished} finished");
    }

    [Fact]
    public async Task More_adapters_than_fit_take_turns_and_all_are_served()
    {
        // Room for the largest stack and little more; stacks that hold what others wait for included.
        long room = await DeviceBytesAsync("lora-2", "lora-3") + 100;
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { AdapterBytes = room });
        AdapterReference[][] stacks = [[new("lora-0")], [new("lora-1")], [new("lora-2"), new("lora-3")], [new("lora-3"), new("lora-2")], [new("lora-3")], [new("lora-0"), new("lora-2")]];

        EngineHost.Result[] results = await Task.WhenAll(Enumerable.Range(0, 30).Select(i =>
            host.GenerateAsync(EngineHost.Request($"request {i}", 5, stacks[i % stacks.Length])))).WaitAsync(EngineHost.Patience);

        Assert.All(results, result => Assert.Equal(5, result.Tokens.Count));
    }

    [Fact]
    public async Task A_stack_that_never_fits_together_is_refused()
    {
        long room = await DeviceBytesAsync("lora-1");
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { AdapterBytes = room });

        await Assert.ThrowsAsync<CapacityExceededException>(() =>
            host.Engine.SubmitAsync(EngineHost.Request("x", 5, new("lora-1"), new("lora-0"))));
    }

    [Fact]
    public async Task A_stack_that_turns_out_larger_than_expected_is_refused_instead_of_waiting_for_ever()
    {
        // By its file it fits, by what the device takes for it (padding) it does not.
        await using EngineHost probe = await EngineHost.StartAsync();
        long expected = new[] { "lora-2", "lora-3" }.Sum(name => probe.Source.Measure(EngineHost.Id(name)).HostBytes);
        Assert.True(await DeviceBytesAsync("lora-3", "lora-2") > expected);
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { AdapterBytes = expected });

        await Assert.ThrowsAsync<CapacityExceededException>(() =>
            host.Engine.SubmitAsync(EngineHost.Request("x", 5, new("lora-3"), new("lora-2"))).WaitAsync(EngineHost.Patience));
    }

    [Fact]
    public async Task A_stream_says_what_serves_it_and_is_read_once()
    {
        await using EngineHost host = await EngineHost.StartAsync();
        GenerationRequest request = EngineHost.Request("Who are you?", 5, new AdapterReference("lora-0")) with
        {
            RequestId = "mine",
            Sampling = new SamplingParameters { Seed = 77 },
        };
        await using GenerationStream stream = await host.Engine.SubmitAsync(request);

        Assert.Equal("mine", stream.RequestId);
        Assert.Equal([EngineHost.Id("lora-0").ToString()], stream.AdapterIds);
        Assert.Equal(12, stream.PromptTokens);
        Assert.Equal(77UL, stream.Seed);
        await EngineHost.ReadAsync(stream);
        await Assert.ThrowsAsync<InvalidOperationException>(() => EngineHost.ReadAsync(stream));
    }

    private static async Task<long> DeviceBytesAsync(params string[] names)
    {
        await using EngineHost host = await EngineHost.StartAsync();
        foreach (string name in names)
        {
            await host.Cache.PreloadAsync(EngineHost.Id(name));
        }

        return host.Cache.GetStatistics().DeviceBytes;
    }
}
