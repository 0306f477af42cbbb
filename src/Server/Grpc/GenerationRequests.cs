using Google.Protobuf.Collections;
using Grpc.Core;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Grpc;

/// <summary>
/// Brings a request of the contract into the engine's form. Ranges are the engine's to check; here is what only the wire can get wrong.
/// </summary>
internal static class GenerationRequests
{
    /// <summary>Metadata that names the adapter when the message does not, for routers that see only headers.</summary>
    public const string AdapterHeader = "x-lora-adapter";

    private const int MaxRequestIdLength = 128;

    /// <exception cref="InvalidRequestException">Names the field.</exception>
    public static GenerationRequest Read(V1.GenerateRequest request, Metadata headers, DateTime deadline)
    {
        if (request.RequestId.Length > MaxRequestIdLength)
        {
            throw new InvalidRequestException("request_id", $"has {request.RequestId.Length} characters; at most {MaxRequestIdLength}");
        }

        if (request.RequestId.AsSpan().IndexOfAnyInRange('\0', '\u001f') >= 0)
        {
            throw new InvalidRequestException("request_id", "holds control characters");
        }

        return new GenerationRequest
        {
            RequestId = request.RequestId,
            Prompt = ReadPrompt(request),
            Adapters = ReadAdapters(request, headers),
            Sampling = ReadSampling(request.Sampling ?? new V1.SamplingParameters()),
            Stopping = ReadStopping(request.Stopping ?? new V1.StoppingCriteria()),
            Output = ReadOutput(request.Output ?? new V1.OutputOptions()),
            Deadline = deadline == DateTime.MaxValue ? null : new DateTimeOffset(DateTime.SpecifyKind(deadline, DateTimeKind.Utc)),
        };
    }

    private static Prompt ReadPrompt(V1.GenerateRequest request)
    {
        return request.PromptCase switch
        {
            V1.GenerateRequest.PromptOneofCase.Text => new TextPrompt(request.Text),
            V1.GenerateRequest.PromptOneofCase.TokenIds => new TokenPrompt([.. request.TokenIds.Ids]),
            V1.GenerateRequest.PromptOneofCase.Chat => ChatMessages.Read(request.Chat),
            _ => throw new InvalidRequestException("prompt", "is missing: give text, token_ids or chat"),
        };
    }

    private static List<AdapterReference> ReadAdapters(V1.GenerateRequest request, Metadata headers)
    {
        if (request.Adapter.Length > 0)
        {
            return request.Adapters.Count == 0
                ? [new AdapterReference(request.Adapter)]
                : throw new InvalidRequestException("adapters", "is given beside adapter; give one of the two");
        }

        if (request.Adapters.Count > 0)
        {
            return [.. request.Adapters.Select(Weighted)];
        }

        return headers.GetValue(AdapterHeader) is { Length: > 0 } named ? [new AdapterReference(named)] : [];
    }

    private static AdapterReference Weighted(V1.WeightedAdapter adapter, int index)
    {
        return adapter.Adapter.Length > 0
            ? new AdapterReference(adapter.Adapter, adapter.HasWeight ? adapter.Weight : 1f)
            : throw new InvalidRequestException($"adapters[{index}].adapter", "is empty");
    }

    private static SamplingParameters ReadSampling(V1.SamplingParameters sampling)
    {
        return new SamplingParameters
        {
            Temperature = sampling.HasTemperature ? sampling.Temperature : null,
            TopK = sampling.HasTopK ? sampling.TopK : null,
            TopP = sampling.HasTopP ? sampling.TopP : null,
            MinP = sampling.HasMinP ? sampling.MinP : null,
            TypicalP = sampling.HasTypicalP ? sampling.TypicalP : null,
            RepetitionPenalty = sampling.HasRepetitionPenalty ? sampling.RepetitionPenalty : null,
            PresencePenalty = sampling.HasPresencePenalty ? sampling.PresencePenalty : null,
            FrequencyPenalty = sampling.HasFrequencyPenalty ? sampling.FrequencyPenalty : null,
            NoRepeatNgramSize = sampling.HasNoRepeatNgramSize ? sampling.NoRepeatNgramSize : null,
            Seed = sampling.HasSeed ? sampling.Seed : null,
            LogitBias = ReadBias(sampling.LogitBias),
        };
    }

    private static Dictionary<int, float>? ReadBias(MapField<int, float> bias)
    {
        return bias.Count == 0 ? null : bias.ToDictionary(entry => entry.Key, entry => entry.Value);
    }

    private static StoppingCriteria ReadStopping(V1.StoppingCriteria stopping)
    {
        return new StoppingCriteria
        {
            MaxTokens = stopping.HasMaxTokens ? stopping.MaxTokens : null,
            Stop = [.. stopping.Stop],
            StopTokenIds = [.. stopping.StopTokenIds],
            IgnoreEos = stopping.IgnoreEos,
            MinTokens = stopping.HasMinTokens ? stopping.MinTokens : 0,
        };
    }

    private static OutputOptions ReadOutput(V1.OutputOptions output)
    {
        return new OutputOptions(output.HasLogprobs ? output.Logprobs : null, output.KeepSpecialTokens, output.OmitText);
    }
}
