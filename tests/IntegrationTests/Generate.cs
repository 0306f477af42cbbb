using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.IntegrationTests;

/// <summary>Short forms of what the tests ask for.</summary>
internal static class Generate
{
    /// <summary>Greedy, and exactly so many tokens.</summary>
    public static GenerationSettings Greedy(string adapter = "", int tokens = 24)
    {
        return new GenerationSettings
        {
            Adapter = adapter,
            Sampling = new SamplingParameters { Temperature = 0 },
            Stopping = new StoppingCriteria { MaxTokens = tokens, IgnoreEos = true },
        };
    }

    public static GenerateRequest Request(string text, string adapter = "", int tokens = 24)
    {
        return new GenerateRequest
        {
            Text = text,
            Adapter = adapter,
            Sampling = new SamplingParameters { Temperature = 0 },
            Stopping = new StoppingCriteria { MaxTokens = tokens, IgnoreEos = true },
        };
    }
}
