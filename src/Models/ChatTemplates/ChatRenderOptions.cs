using System.Text.Json;

namespace InferenceServer.Models.ChatTemplates;

/// <summary>What a conversation is rendered with, besides its messages.</summary>
public sealed record ChatRenderOptions
{
    /// <summary>Whether the prompt ends with the opening of the assistant's next message.</summary>
    public bool AddGenerationPrompt { get; init; } = true;

    /// <summary>The tools the model may call, as a JSON array; null passes none, which templates see as <c>none</c>.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>The documents the model may use, as a JSON array; null passes none, which templates see as <c>none</c>.</summary>
    public JsonElement? Documents { get; init; }

    /// <summary>More names that the template may know, for example <c>enable_thinking</c>. They win over the special tokens.</summary>
    public IReadOnlyDictionary<string, JsonElement> Variables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>The texts of the model's special tokens by name: <c>bos_token</c>, <c>eos_token</c> and so on.</summary>
    public IReadOnlyDictionary<string, string> SpecialTokens { get; init; } = new Dictionary<string, string>();
}
