using System.Text.Json;

namespace InferenceServer.Engine.Requests;

/// <summary>What a request starts from: <see cref="TextPrompt"/>, <see cref="TokenPrompt"/> or <see cref="ChatPrompt"/>.</summary>
public abstract record Prompt;

/// <summary>Plain text; the tokenizer adds special tokens as its post-processor does.</summary>
public sealed record TextPrompt(string Text) : Prompt;

/// <summary>Token ids, taken as they are.</summary>
public sealed record TokenPrompt(IReadOnlyList<int> Ids) : Prompt;

/// <summary>Messages for the model's chat template.</summary>
/// <param name="Messages">A JSON array of messages.</param>
/// <param name="AddGenerationPrompt">Whether the assistant's header is appended.</param>
/// <param name="Tools">A JSON array, or null.</param>
/// <param name="Variables">A JSON object of further template variables, or null.</param>
public sealed record ChatPrompt(JsonElement Messages, bool AddGenerationPrompt, JsonElement? Tools, JsonElement? Variables) : Prompt;
