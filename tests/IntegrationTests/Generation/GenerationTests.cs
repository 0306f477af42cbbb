using System.Text;
using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Generation;

public class GenerationTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private readonly InferenceClient _client = fixture.Client;

    [Fact]
    public async Task The_first_message_says_what_runs_and_the_last_how_it_ended()
    {
        List<GenerateResponse> messages = [];
        GenerateRequest request = Generate.Request("hello", "shout");
        request.RequestId = "r-1";

        await foreach (GenerateResponse message in _client.GenerateAsync(request))
        {
            messages.Add(message);
        }

        AdapterInfo shout = await _client.Adapters.GetAsync("shout");
        Assert.Equal("r-1", messages[0].Started.RequestId);
        Assert.Equal([$"shout@{shout.Digest}"], messages[0].Started.Adapters);
        Assert.Equal(6, messages[0].Started.PromptTokens); // the five letters, and the token that begins a text
        Assert.All(messages.Skip(1), message => Assert.Null(message.Started));
        Assert.All(messages.SkipLast(1), message => Assert.Equal(FinishReason.Unspecified, message.FinishReason));
        Assert.Equal(FinishReason.Length, messages[^1].FinishReason);
        Assert.Equal(6, messages[^1].Usage.PromptTokens);
        Assert.Equal(24, messages[^1].Usage.CompletionTokens);
        Assert.Equal(24, messages.Sum(message => message.TokenIds.Count));
    }

    [Fact]
    public async Task Text_is_what_the_token_ids_say()
    {
        GenerationResult result = await _client.GenerateTextAsync("hello", Generate.Greedy());

        // The placeholder's ids below 256 are bytes.
        byte[] bytes = [.. result.TokenIds.Where(id => id < 256).Select(id => (byte)id)];
        Assert.Equal(Encoding.UTF8.GetString(bytes), result.Text);
    }

    [Fact]
    public async Task The_sample_adapters_lean_as_they_are_named()
    {
        GenerationResult shout = await _client.GenerateTextAsync("hello", Generate.Greedy("shout", 64));
        GenerationResult whisper = await _client.GenerateTextAsync("hello", Generate.Greedy("whisper", 64));

        Assert.True(shout.Text.Count(char.IsAsciiLetterUpper) > 48, shout.Text);
        Assert.True(whisper.Text.Count(char.IsAsciiLetterLower) > 48, whisper.Text);
    }

    [Fact]
    public async Task Two_tenants_and_the_base_in_one_batch_get_what_they_get_alone()
    {
        string[] adapters = ["", "shout", "whisper"];
        string[] prompts = ["hello", "a", "The quick brown fox jumps over the lazy dog", "12345", "é€😀", "", "hello hello", "z"];
        (string Prompt, string Adapter)[] cases = [.. prompts.SelectMany(prompt => adapters.Select(adapter => (prompt, adapter)))];
        List<IReadOnlyList<int>> alone = [];
        foreach ((string prompt, string adapter) in cases)
        {
            alone.Add((await _client.GenerateTextAsync(prompt, Generate.Greedy(adapter))).TokenIds);
        }

        GenerationResult[] together =
            await Task.WhenAll(cases.Select(one => _client.GenerateTextAsync(one.Prompt, Generate.Greedy(one.Adapter))));

        Assert.Equal(alone, together.Select(result => result.TokenIds));
        Assert.Equal(3, alone.Take(3).Distinct(new SequenceComparer()).Count());
    }

    [Fact]
    public async Task A_seed_fixes_a_sampled_text_whatever_the_neighbours()
    {
        GenerationSettings settings = Generate.Greedy("shout") with { Sampling = new SamplingParameters { Temperature = 1.2f, Seed = 42 } };
        GenerationResult alone = await _client.GenerateTextAsync("hello", settings);

        Task<GenerationResult>[] together =
        [
            .. Enumerable.Range(0, 8).Select(_ => _client.GenerateTextAsync("hello", settings)),
            .. Enumerable.Range(0, 8).Select(i => _client.GenerateTextAsync("other", settings with { Adapter = "whisper" })),
        ];

        GenerationResult[] results = await Task.WhenAll(together);
        Assert.All(results.Take(8), result => Assert.Equal(alone.TokenIds, result.TokenIds));
        Assert.Equal(42UL, alone.Started.Seed);
    }

    [Fact]
    public async Task The_adapter_may_come_in_the_metadata()
    {
        GenerationService.GenerationServiceClient raw = new(fixture.Server.Channel);
        GenerationResult named = await _client.GenerateTextAsync("hello", Generate.Greedy("shout"));
        List<int> ids = [];

        using AsyncServerStreamingCall<GenerateResponse> call =
            raw.Generate(Generate.Request("hello"), new Metadata { { "x-lora-adapter", "shout" } });
        await foreach (GenerateResponse message in call.ResponseStream.ReadAllAsync())
        {
            ids.AddRange(message.TokenIds);
        }

        Assert.Equal(named.TokenIds, ids);
    }

    [Fact]
    public async Task A_field_wins_over_the_metadata()
    {
        GenerationService.GenerationServiceClient raw = new(fixture.Server.Channel);

        using AsyncServerStreamingCall<GenerateResponse> call = raw.Generate(
            Generate.Request("hello", "whisper", tokens: 1), new Metadata { { "x-lora-adapter", "nobody" } });
        Assert.True(await call.ResponseStream.MoveNext(CancellationToken.None));

        Assert.StartsWith("whisper@", call.ResponseStream.Current.Started.Adapters.Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stop_string_ends_the_text_before_it()
    {
        string whole = (await _client.GenerateTextAsync("hello", Generate.Greedy())).Text;
        string stop = whole.Substring(6, 3);
        GenerationSettings settings = Generate.Greedy();
        settings.Stopping!.Stop.Add(stop);

        GenerationResult result = await _client.GenerateTextAsync("hello", settings);

        Assert.Equal(whole[..whole.IndexOf(stop, StringComparison.Ordinal)], result.Text);
        Assert.Equal(FinishReason.Stop, result.FinishReason);
        Assert.Equal(stop, result.StopReason);
    }

    [Fact]
    public async Task Token_ids_chat_and_text_meet_in_the_same_prompt()
    {
        const int Begin = 256, End = 257, User = 259, Assistant = 260;
        GenerateRequest ids = Generate.Request("");
        ids.TokenIds = new TokenIds { Ids = { Begin, User, 'h', 'i', End, Assistant } };
        List<int> byIds = [];

        await foreach (GenerateResponse message in _client.GenerateAsync(ids))
        {
            byIds.AddRange(message.TokenIds);
        }

        GenerationResult byChat = await _client.ChatAsync([new ChatMessage { Role = "user", Content = "hi" }], Generate.Greedy());
        Assert.Equal(byIds, byChat.TokenIds);
        Assert.Equal(6, byChat.Usage.PromptTokens);
    }

    [Fact]
    public async Task Logprobs_come_with_each_token_best_first()
    {
        GenerationSettings settings = Generate.Greedy() with { Output = new OutputOptions { Logprobs = 4 } };

        GenerationResult result = await _client.GenerateTextAsync("hello", settings);

        Assert.Equal(result.TokenIds, result.Logprobs.Select(logprobs => logprobs.TokenId));
        Assert.All(result.Logprobs, logprobs =>
        {
            Assert.Equal(4, logprobs.Top.Count);
            Assert.Equal(logprobs.Top.OrderByDescending(top => top.Logprob), logprobs.Top);
            Assert.Equal(logprobs.TokenId, logprobs.Top[0].TokenId); // greedy takes the best
            Assert.True(logprobs.Logprob <= 0);
        });
    }

    [Fact]
    public async Task Weighted_adapters_of_weight_0_and_1_are_the_one()
    {
        GenerationResult alone = await _client.GenerateTextAsync("hello", Generate.Greedy("shout"));
        GenerationSettings both = Generate.Greedy() with
        {
            Adapters = [new WeightedAdapter { Adapter = "shout" }, new WeightedAdapter { Adapter = "whisper", Weight = 0 }],
        };

        GenerationResult result = await _client.GenerateTextAsync("hello", both);

        Assert.Equal(alone.TokenIds, result.TokenIds);
        Assert.Equal(2, result.Started.Adapters.Count);
    }

    [Theory]
    [InlineData("prompt")]
    [InlineData("adapters")]
    [InlineData("adapters[1].adapter")]
    [InlineData("request_id")]
    [InlineData("chat.messages")]
    [InlineData("top_p")]
    [InlineData("temperature")]
    [InlineData("max_tokens")]
    [InlineData("logprobs")]
    public async Task A_wrong_field_is_refused_by_name(string field)
    {
        GenerateRequest request = Generate.Request("hello");
        switch (field)
        {
            case "prompt":
                request.ClearPrompt();
                break;
            case "adapters":
                request.Adapter = "shout";
                request.Adapters.Add(new WeightedAdapter { Adapter = "whisper" });
                break;
            case "adapters[1].adapter":
                request.Adapters.Add([new WeightedAdapter { Adapter = "whisper" }, new WeightedAdapter()]);
                break;
            case "request_id":
                request.RequestId = new string('x', 129);
                break;
            case "chat.messages":
                request.Chat = new ChatPrompt();
                break;
            case "top_p":
                request.Sampling.TopP = 1.5f;
                break;
            case "temperature":
                request.Sampling.Temperature = float.NaN;
                break;
            case "max_tokens":
                request.Stopping.MaxTokens = -1;
                break;
            case "logprobs":
                request.Output = new OutputOptions { Logprobs = 21 };
                break;
        }

        InferenceException error =
            await Assert.ThrowsAsync<InferenceException>(() => _client.GenerateAsync(request).ToListAsync().AsTask());

        Assert.Equal(StatusCode.InvalidArgument, error.Status);
        Assert.Contains(field, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unknown_adapter_is_not_found_by_name()
    {
        InferenceException error =
            await Assert.ThrowsAsync<InferenceException>(() => _client.GenerateTextAsync("hello", Generate.Greedy("nobody")));

        Assert.Equal(StatusCode.NotFound, error.Status);
        Assert.Contains("nobody", error.Message, StringComparison.Ordinal);
    }

    private sealed class SequenceComparer : IEqualityComparer<IReadOnlyList<int>>
    {
        public bool Equals(IReadOnlyList<int>? x, IReadOnlyList<int>? y) => x!.SequenceEqual(y!);

        public int GetHashCode(IReadOnlyList<int> obj) => obj.Count;
    }
}
