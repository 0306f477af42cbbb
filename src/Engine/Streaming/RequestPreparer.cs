using System.Globalization;
using System.Text.Json;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Sampling;
using InferenceServer.Models;
using InferenceServer.Models.ChatTemplates;
using InferenceServer.Models.Tokenization;

namespace InferenceServer.Engine.Streaming;

/// <summary>Checks requests and turns their prompts into tokens, on the caller's thread.</summary>
internal sealed class RequestPreparer
{
    public const int DefaultMaxTokens = 256;
    private const int MaxRequestIdLength = 128;
    private const int MaxStopStrings = 16;
    private const int MaxStopLength = 256;
    private const int MaxStopTokens = 1024;
    private const int MaxLogprobs = 20;

    private readonly Tokenizer? _tokenizer;
    private readonly ChatTemplateSet? _templates;
    private readonly SamplingParameters _modelSampling;
    private readonly int[] _modelEndTokens;
    private readonly int _vocabularySize;
    private readonly int _contextLength;
    private readonly int _kvCapacity;

    /// <param name="model">The model.</param>
    /// <param name="kvCapacity">Tokens that the whole KV cache holds.</param>
    public RequestPreparer(LanguageModel model, int kvCapacity)
    {
        _tokenizer = model.Tokenizer;
        _templates = model.ChatTemplates;
        _vocabularySize = model.Transformer.Config.VocabularySize;
        _contextLength = model.Transformer.MaxModelLength;
        _kvCapacity = kvCapacity;
        _modelEndTokens = [.. model.Defaults.EosTokenIds];
        _modelSampling = new SamplingParameters
        {
            Temperature = model.Defaults.Temperature,
            TopK = model.Defaults.TopK,
            TopP = model.Defaults.TopP,
            MinP = model.Defaults.MinP,
            TypicalP = model.Defaults.TypicalP,
            RepetitionPenalty = model.Defaults.RepetitionPenalty,
            NoRepeatNgramSize = model.Defaults.NoRepeatNgramSize,
        };
    }

    /// <exception cref="InvalidRequestException">A field is wrong; it is named.</exception>
    public PreparedRequest Prepare(GenerationRequest request, CancellationToken cancellation)
    {
        if (request.RequestId.Length > MaxRequestIdLength)
        {
            throw new InvalidRequestException("request_id", $"{request.RequestId.Length} characters exceed the limit of {MaxRequestIdLength}");
        }

        CheckOutput(request.Output);
        int[] endTokens = CheckStopping(request.Stopping);
        SamplingSettings sampling = SamplingSettings.Resolve(request.Sampling, _modelSampling, _vocabularySize);
        int[] prompt = Tokenise(request.Prompt, cancellation);
        int maxNewTokens = MaxNewTokens(prompt.Length, request.Stopping.MaxTokens);
        return new PreparedRequest
        {
            RequestId = request.RequestId.Length > 0 ? request.RequestId : Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture),
            PromptTokens = prompt,
            Sampling = sampling,
            MaxNewTokens = maxNewTokens,
            MinNewTokens = Math.Min(request.Stopping.MinTokens, maxNewTokens),
            EndTokens = endTokens,
            Stop = request.Stopping.Stop,
            Logprobs = request.Output.Logprobs,
            KeepSpecialTokens = request.Output.KeepSpecialTokens,
            OmitText = request.Output.OmitText,
            Deadline = request.Deadline,
        };
    }

    private static void CheckOutput(OutputOptions output)
    {
        if (output.Logprobs is < 0 or > MaxLogprobs)
        {
            throw new InvalidRequestException("output.logprobs", $"{output.Logprobs} is not in [0, {MaxLogprobs}]");
        }
    }

    private int[] CheckStopping(StoppingCriteria stopping)
    {
        if (stopping.MaxTokens is < 1)
        {
            throw new InvalidRequestException("stopping.max_tokens", $"{stopping.MaxTokens} is below 1");
        }

        if (stopping.MinTokens < 0)
        {
            throw new InvalidRequestException("stopping.min_tokens", $"{stopping.MinTokens} is below 0");
        }

        if (stopping.Stop.Count > MaxStopStrings)
        {
            throw new InvalidRequestException("stopping.stop", $"{stopping.Stop.Count} stop strings exceed the limit of {MaxStopStrings}");
        }

        foreach (string stop in stopping.Stop)
        {
            if (string.IsNullOrEmpty(stop) || stop.Length > MaxStopLength)
            {
                throw new InvalidRequestException("stopping.stop", $"a stop string of {stop?.Length ?? 0} characters is not in [1, {MaxStopLength}]");
            }
        }

        if (stopping.Stop.Count > 0 && _tokenizer is null)
        {
            throw new InvalidRequestException("stopping.stop", "the model has no tokenizer, so there is no text to stop at");
        }

        if (stopping.StopTokenIds.Count > MaxStopTokens)
        {
            throw new InvalidRequestException("stopping.stop_token_ids", $"{stopping.StopTokenIds.Count} tokens exceed the limit of {MaxStopTokens}");
        }

        CheckTokens("stopping.stop_token_ids", stopping.StopTokenIds);
        return [.. (stopping.IgnoreEos ? [] : _modelEndTokens).Concat(stopping.StopTokenIds).Distinct()];
    }

    private int[] Tokenise(Prompt prompt, CancellationToken cancellation)
    {
        switch (prompt)
        {
            case TokenPrompt tokens:
                CheckTokens("token_ids", tokens.Ids);
                return NotEmpty("token_ids", [.. tokens.Ids]);
            case TextPrompt text:
                CheckLength("text", text.Text);
                return NotEmpty("text", Encode("text", text.Text, addSpecialTokens: true));
            case ChatPrompt chat:
                return NotEmpty("chat", Encode("chat", Render(chat, cancellation), addSpecialTokens: false));
            default:
                throw new InvalidRequestException("prompt", "is missing: give text, token_ids or chat");
        }
    }

    private string Render(ChatPrompt chat, CancellationToken cancellation)
    {
        if (_templates is null)
        {
            throw new ChatTemplateMissingException();
        }

        try
        {
            Dictionary<string, JsonElement> variables = chat.Variables is { ValueKind: JsonValueKind.Object } given
                ? given.EnumerateObject().ToDictionary(variable => variable.Name, variable => variable.Value, StringComparer.Ordinal)
                : [];
            ChatRenderOptions options = new()
            {
                AddGenerationPrompt = chat.AddGenerationPrompt,
                Tools = chat.Tools,
                Variables = variables,
            };
            return _templates.Render(ChatMessage.ListFromJson(chat.Messages), options, cancellationToken: cancellation);
        }
        catch (ChatTemplateException error)
        {
            throw new InvalidRequestException("chat", error.RaisedMessage ?? error.Message, error);
        }
    }

    private int[] Encode(string field, string text, bool addSpecialTokens)
    {
        if (_tokenizer is null)
        {
            throw new InvalidRequestException(field, "the model has no tokenizer: give token_ids");
        }

        int[] ids = [.. _tokenizer.EncodeToIds(text, addSpecialTokens)];

        // A tokenizer may know more tokens than the model has rows for.
        CheckTokens(field, ids);
        return ids;
    }

    // A text so long that no tokenizer could bring it below the context is refused before it costs time: a token of real vocabularies
    // has at most 256 characters.
    private void CheckLength(string field, string text)
    {
        long limit = (long)_contextLength * 256;
        if (text.Length > limit)
        {
            throw new InvalidRequestException(field, $"{text.Length} characters exceed the context of {_contextLength} tokens in any encoding");
        }
    }

    private static int[] NotEmpty(string field, int[] tokens) =>
        tokens.Length > 0 ? tokens : throw new InvalidRequestException(field, "gives no token to start from");

    private void CheckTokens(string field, IReadOnlyList<int> tokens)
    {
        foreach (int token in tokens)
        {
            if (token < 0 || token >= _vocabularySize)
            {
                throw new InvalidRequestException(field, $"token {token} is not in the vocabulary of {_vocabularySize}");
            }
        }
    }

    private int MaxNewTokens(int promptLength, int? asked)
    {
        int room = _contextLength - promptLength;
        if (room < 1)
        {
            throw new InvalidRequestException("prompt", $"{promptLength} tokens leave no room in the context of {_contextLength}");
        }

        // The last new token is never stored, so the cache needs one place less than there are tokens.
        int fitting = _kvCapacity + 1 - promptLength;
        if (fitting < 1)
        {
            throw new InvalidRequestException("prompt", $"{promptLength} tokens exceed the KV cache of {_kvCapacity}");
        }

        int wanted = Math.Min(asked ?? DefaultMaxTokens, room);
        if (asked is not null && wanted > fitting)
        {
            throw new InvalidRequestException(
                "stopping.max_tokens", $"{wanted} new tokens after a prompt of {promptLength} can never fit into the KV cache of {_kvCapacity}");
        }

        return Math.Min(wanted, fitting);
    }
}
