using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Streaming;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Grpc;

/// <summary>Brings what the engine streams into the contract's messages.</summary>
internal static class GenerationResponses
{
    public static V1.GenerationStarted Started(GenerationStream stream)
    {
        V1.GenerationStarted started = new() { RequestId = stream.RequestId, PromptTokens = stream.PromptTokens, Seed = stream.Seed };
        started.Adapters.Add(stream.AdapterIds);
        return started;
    }

    public static V1.GenerateResponse FromChunk(GenerationChunk chunk)
    {
        V1.GenerateResponse response = new()
        {
            Text = chunk.Text,
            FinishReason = chunk.FinishReason switch
            {
                FinishReason.Stop => V1.FinishReason.Stop,
                FinishReason.Length => V1.FinishReason.Length,
                _ => V1.FinishReason.Unspecified,
            },
            StopReason = chunk.StopReason,
        };
        response.TokenIds.Add(chunk.TokenIds);
        foreach (TokenLogprobs logprobs in chunk.Logprobs)
        {
            response.Logprobs.Add(FromLogprobs(logprobs));
        }

        if (chunk.Usage is { } usage)
        {
            response.Usage = new V1.Usage
            {
                PromptTokens = usage.PromptTokens,
                CompletionTokens = usage.CompletionTokens,
                CachedTokens = usage.CachedTokens,
                QueueSeconds = usage.QueueTime.TotalSeconds,
                TimeToFirstTokenSeconds = usage.TimeToFirstToken.TotalSeconds,
                TotalSeconds = usage.TotalTime.TotalSeconds,
            };
        }

        return response;
    }

    private static V1.TokenLogprobs FromLogprobs(TokenLogprobs logprobs)
    {
        V1.TokenLogprobs message = new() { TokenId = logprobs.Chosen.TokenId, Logprob = logprobs.Chosen.Logprob };
        foreach (TokenLogprob top in logprobs.Top)
        {
            message.Top.Add(new V1.TopLogprob { TokenId = top.TokenId, Logprob = top.Logprob });
        }

        return message;
    }
}
