using System.CommandLine;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary>The options that <c>generate</c> and <c>chat</c> share.</summary>
internal sealed class SamplingOptions
{
    private readonly Option<string> _adapter =
        new("--adapter", "-a") { Description = "Adapter: name or name@digest; the base model when left out." };
    private readonly Option<int?> _maxTokens = new("--max-tokens", "-n") { Description = "Most new tokens." };
    private readonly Option<float?> _temperature = new("--temperature", "-t") { Description = "0 is greedy." };
    private readonly Option<int?> _topK = new("--top-k") { Description = "Keep the k best tokens; 0 for all." };
    private readonly Option<float?> _topP = new("--top-p") { Description = "Keep the smallest set with this probability." };
    private readonly Option<float?> _minP = new("--min-p") { Description = "Drop what is less probable than this share of the best." };
    private readonly Option<float?> _repetitionPenalty = new("--repetition-penalty") { Description = "1 for none." };
    private readonly Option<ulong?> _seed = new("--seed") { Description = "Same seed, same tokens." };
    private readonly Option<string[]> _stop = new("--stop") { Description = "End where this text appears; may be given more than once." };

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_adapter, _maxTokens, _temperature, _topK, _topP, _minP, _repetitionPenalty, _seed, _stop])
        {
            command.Add(option);
        }
    }

    public GenerationSettings Read(ParseResult parsed, TimeSpan? timeout)
    {
        SamplingParameters sampling = new();
        if (parsed.GetValue(_temperature) is { } temperature)
        {
            sampling.Temperature = temperature;
        }

        if (parsed.GetValue(_topK) is { } topK)
        {
            sampling.TopK = topK;
        }

        if (parsed.GetValue(_topP) is { } topP)
        {
            sampling.TopP = topP;
        }

        if (parsed.GetValue(_minP) is { } minP)
        {
            sampling.MinP = minP;
        }

        if (parsed.GetValue(_repetitionPenalty) is { } penalty)
        {
            sampling.RepetitionPenalty = penalty;
        }

        if (parsed.GetValue(_seed) is { } seed)
        {
            sampling.Seed = seed;
        }

        StoppingCriteria stopping = new();
        stopping.Stop.Add(parsed.GetValue(_stop) ?? []);
        if (parsed.GetValue(_maxTokens) is { } maxTokens)
        {
            stopping.MaxTokens = maxTokens;
        }

        return new GenerationSettings
        {
            Adapter = parsed.GetValue(_adapter) ?? "",
            Sampling = sampling,
            Stopping = stopping,
            Timeout = timeout,
        };
    }
}
