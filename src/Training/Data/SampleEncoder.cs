using System.Text.Json;
using InferenceServer.Models.ChatTemplates;
using InferenceServer.Models.Tokenization;

namespace InferenceServer.Training.Data;

/// <summary>
/// Makes a training example of a JSON object: <c>{"prompt", "completion"}</c> learns the completion, <c>{"messages"}</c> (and
/// <c>"tools"</c>) the assistant's turns as the chat template writes them, <c>{"text"}</c> everything. Other fields are left alone.
/// </summary>
internal sealed class SampleEncoder(Tokenizer tokenizer, ChatTemplateSet? templates, DatasetOptions options)
{
    private static readonly JsonDocumentOptions s_strict = new() { AllowDuplicateProperties = false };

    /// <returns>Null for a sample that is too long and to be dropped.</returns>
    /// <exception cref="DatasetException">The line is no sample, or leaves nothing to learn.</exception>
    public SupervisedSequence? Encode(ReadOnlyMemory<byte> line, SampleLocation location)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line, s_strict);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? Finish(Tokens(document.RootElement, location), location)
                : throw location.Wrong(null, $"expected a JSON object, found {Kind(document.RootElement)}");
        }
        catch (JsonException error)
        {
            // The parser's own position counts from this line and would name it line 0.
            string reason = error.Message.Split(" LineNumber:")[0];
            throw location.Wrong(null, $"broken JSON at byte {error.BytePositionInLine + 1}: {reason}", error);
        }
        catch (InvalidOperationException error)
        {
            throw location.Wrong(null, "a text in it is not valid Unicode", error);
        }
    }

    private (SampleTokens Tokens, string Field) Tokens(JsonElement sample, SampleLocation location)
    {
        bool isPair = sample.TryGetProperty("prompt", out _) || sample.TryGetProperty("completion", out _);
        bool isText = sample.TryGetProperty("text", out _);
        bool isConversation = sample.TryGetProperty("messages", out JsonElement messages);
        return (isPair, isConversation, isText) switch
        {
            (true, false, false) => (Pair(sample, location), "completion"),
            (false, true, false) => (Conversation(sample, messages, location), "messages"),
            (false, false, true) => (Whole(sample, location), "text"),
            (false, false, false) => throw location.Wrong(null, "has none of the fields prompt and completion, messages, text"),
            _ => throw location.Wrong(null, "has more than one of prompt and completion, messages, text"),
        };
    }

    private SampleTokens Pair(JsonElement sample, SampleLocation location)
    {
        SampleTokens tokens = new(tokenizer, addsSpecialTokens: true);
        tokens.Append(Text(sample, "prompt", location), isLearnt: false);
        tokens.Append(Text(sample, "completion", location), isLearnt: true);
        AppendEnd(tokens);
        return tokens;
    }

    private SampleTokens Whole(JsonElement sample, SampleLocation location)
    {
        SampleTokens tokens = new(tokenizer, addsSpecialTokens: true);
        tokens.Append(Text(sample, "text", location), isLearnt: true);
        AppendEnd(tokens);
        return tokens;
    }

    private SampleTokens Conversation(JsonElement sample, JsonElement messages, SampleLocation location)
    {
        if (messages.ValueKind != JsonValueKind.Array)
        {
            throw location.Wrong("messages", $"expected an array, found {Kind(messages)}");
        }

        if (templates is null)
        {
            throw location.Wrong("messages", "the model has no chat template");
        }

        string[] roles = [.. messages.EnumerateArray().Select((message, index) => Role(message, index, location))];
        JsonElement? tools = sample.TryGetProperty("tools", out JsonElement given) && given.ValueKind == JsonValueKind.Array ? given : null;
        SampleTokens tokens = new(tokenizer, addsSpecialTokens: false);
        try
        {
            IReadOnlyList<ChatMessage> all = ChatMessage.ListFromJson(messages);
            for (int turn = 0; turn < roles.Length; turn++)
            {
                if (roles[turn] == "assistant")
                {
                    // What serving is given before this turn, then what the turn adds to it.
                    AppendUpTo(Render(all, turn, tools, addGenerationPrompt: true), isLearnt: false);
                    AppendUpTo(Render(all, turn + 1, tools, addGenerationPrompt: false), isLearnt: true);
                }

                void AppendUpTo(string text, bool isLearnt)
                {
                    if (!text.StartsWith(tokens.Text, StringComparison.Ordinal))
                    {
                        throw location.Wrong(
                            $"messages[{turn}]", "the chat template writes what stands before this turn differently once the turn is there");
                    }

                    tokens.Append(text[tokens.Text.Length..], isLearnt);
                }
            }
        }
        catch (ChatTemplateException error)
        {
            throw location.Wrong("messages", "the chat template refuses it: " + (error.RaisedMessage ?? error.Message), error);
        }

        return tokens;
    }

    private string Render(IReadOnlyList<ChatMessage> all, int count, JsonElement? tools, bool addGenerationPrompt) => templates!.Render(
        [.. all.Take(count)], new ChatRenderOptions { AddGenerationPrompt = addGenerationPrompt, Tools = tools });

    private SupervisedSequence? Finish((SampleTokens Tokens, string Field) sample, SampleLocation location)
    {
        (SampleTokens tokens, string field) = sample;
        bool isLong = tokens.Count > options.MaxSampleTokens;
        if (isLong && options.LongSamples == LongSamplePolicy.Drop)
        {
            return null;
        }

        if (isLong && options.LongSamples == LongSamplePolicy.Reject)
        {
            throw location.Wrong(field, $"{tokens.Count} tokens exceed MaxSampleTokens {options.MaxSampleTokens}");
        }

        SupervisedSequence sequence = tokens.ToSequence(options.MaxSampleTokens, location.Line);
        if (options.VocabularySize > 0 && sequence.Tokens.Any(token => token >= options.VocabularySize))
        {
            throw location.Wrong(field, $"token {sequence.Tokens.Max()} is outside the model's vocabulary of {options.VocabularySize}");
        }

        // A first token is predicted from nothing, so its label does not count.
        return sequence.Labels.Skip(1).Any(label => label != SupervisedSequence.Ignored)
            ? sequence
            : throw location.Wrong(
                field, isLong ? $"nothing left to learn in its first {options.MaxSampleTokens} of {tokens.Count} tokens" : "nothing to learn");
    }

    private void AppendEnd(SampleTokens tokens)
    {
        if (options.AppendsEndOfSentence && tokenizer.EndOfSentenceId is { } end && (tokens.Count == 0 || tokens.LastToken != end))
        {
            tokens.Append(end, isLearnt: true);
        }
    }

    private static string Role(JsonElement message, int index, SampleLocation location)
    {
        string field = $"messages[{index}]";
        if (message.ValueKind != JsonValueKind.Object)
        {
            throw location.Wrong(field, $"expected an object, found {Kind(message)}");
        }

        if (message.TryGetProperty("content", out JsonElement content)
            && content.ValueKind is not (JsonValueKind.String or JsonValueKind.Array or JsonValueKind.Null))
        {
            throw location.Wrong(field + ".content", $"expected text, found {Kind(content)}");
        }

        return message.TryGetProperty("role", out JsonElement role)
            ? ReadText(role, field + ".role", location)
            : throw location.Wrong(field + ".role", "missing");
    }

    private static string Text(JsonElement sample, string field, SampleLocation location) =>
        sample.TryGetProperty(field, out JsonElement value) ? ReadText(value, field, location) : throw location.Wrong(field, "missing");

    private static string ReadText(JsonElement value, string field, SampleLocation location)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String
                ? value.GetString()!
                : throw location.Wrong(field, $"expected text, found {Kind(value)}");
        }
        catch (InvalidOperationException error)
        {
            throw location.Wrong(field, "not valid Unicode", error);
        }
    }

    private static string Kind(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => "text",
        JsonValueKind.Number => "a number",
        JsonValueKind.Array => "an array",
        JsonValueKind.Object => "an object",
        JsonValueKind.Null => "null",
        _ => "a boolean",
    };
}
