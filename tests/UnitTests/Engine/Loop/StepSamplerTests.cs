using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using InferenceServer.TestKit.TinyModel;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Loop;

/// <summary>Where a token is drawn makes no difference.</summary>
public sealed class StepSamplerTests
{
    [Fact]
    public async Task A_backend_that_draws_gives_the_tokens_of_one_that_does_not()
    {
        GenerationRequest[] requests = [.. Drawable().Concat(LeftOut())];
        await using EngineHost plain = await EngineHost.StartAsync();
        List<EngineHost.Result> expected = [];
        foreach (GenerationRequest request in requests)
        {
            expected.Add(await plain.GenerateAsync(request));
        }

        await using EngineHost drawing = await EngineHost.StartAsync(new EngineHostOptions { DrawsByBackend = true });
        EngineHost.Result[] actual = await Task.WhenAll(requests.Select(drawing.GenerateAsync));

        for (int i = 0; i < requests.Length; i++)
        {
            actual[i].AssertSame(expected[i]);
        }

        DrawingBackend backend = (DrawingBackend)drawing.Backend;
        Assert.Equal(Drawable().Sum(request => request.Stopping.MaxTokens!.Value), backend.Drawn);
        Assert.InRange(backend.LeftOut, 1, LeftOut().Sum(request => request.Stopping.MaxTokens!.Value));
    }

    [Fact]
    public async Task A_step_without_anything_for_the_backend_is_read_as_a_whole()
    {
        GenerationRequest[] requests = LeftOut();
        await using EngineHost plain = await EngineHost.StartAsync();
        await using EngineHost drawing = await EngineHost.StartAsync(new EngineHostOptions { DrawsByBackend = true });

        foreach (GenerationRequest request in requests)
        {
            (await drawing.GenerateAsync(request)).AssertSame(await plain.GenerateAsync(request));
        }

        Assert.Equal(0, ((DrawingBackend)drawing.Backend).Drawn);
    }

    [Fact]
    public async Task A_request_that_bans_everything_fails_alone()
    {
        await using EngineHost host = await EngineHost.StartAsync(new EngineHostOptions { DrawsByBackend = true });
        int vocabulary = host.Transformer.Config.VocabularySize;
        GenerationRequest all = EngineHost.Request("Nothing", 5) with
        {
            Output = new OutputOptions(),
            Stopping = new StoppingCriteria { MaxTokens = 5, MinTokens = 3, StopTokenIds = [.. Enumerable.Range(0, vocabulary)] },
        };
        GenerationRequest other = Drawable()[0];

        Task<EngineHost.Result> bystander = host.GenerateAsync(other);
        GenerationFailedException error = await Assert.ThrowsAsync<GenerationFailedException>(() => host.GenerateAsync(all));

        Assert.Contains("leave no token", error.Message, StringComparison.Ordinal);
        Assert.Equal(other.Stopping.MaxTokens, (await bystander).Tokens.Count);
    }

    private static GenerationRequest[] Drawable() =>
    [
        Request("Greedy", 20, new SamplingParameters { Temperature = 0, TypicalP = 0.5f }, logprobs: null),
        Request("Greedy with its logprob", 24, new SamplingParameters { Temperature = 0 }, logprobs: 0),
        Request("Warm", 21, new SamplingParameters { Temperature = 0.8f, Seed = 1 }, logprobs: 0),
        Request("Filtered", 17, new SamplingParameters { TopK = 40, TopP = 0.9f, MinP = 0.01f, Seed = 2 }, logprobs: null),
        Request("Penalised", 30, new SamplingParameters { RepetitionPenalty = 1.3f, PresencePenalty = 0.5f, FrequencyPenalty = 0.2f, Seed = 3 }, logprobs: 0),
        Request("Output alone", 30, new SamplingParameters { FrequencyPenalty = 1.5f, Temperature = 0 }, logprobs: null),
        Request("Biased", 12, new SamplingParameters { Temperature = 0, LogitBias = new Dictionary<int, float> { [5] = 3f, [7] = -100f } }, logprobs: 0),
    ];

    private static GenerationRequest[] LeftOut() =>
    [
        Request("Typical", 16, new SamplingParameters { TypicalP = 0.8f, Seed = 4 }, logprobs: null),
        Request("No bigram twice", 25, new SamplingParameters { Temperature = 0, NoRepeatNgramSize = 2 }, logprobs: 0),
        Request("Best ones", 14, new SamplingParameters { TopK = 5, Seed = 5 }, logprobs: 3),
    ];

    private static GenerationRequest Request(string prompt, int maxTokens, SamplingParameters sampling, int? logprobs) =>
        EngineHost.Request(prompt, maxTokens) with { Sampling = sampling, Output = new OutputOptions(logprobs) };
}
