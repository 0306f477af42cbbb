using System.Text.Json;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates;

/// <summary>One message of a conversation: its role and content, and whatever else a template may ask for.</summary>
public sealed class ChatMessage
{
    /// <summary>A plain message.</summary>
    /// <param name="role"><c>system</c>, <c>user</c>, <c>assistant</c>, <c>tool</c>, or what else the template knows.</param>
    /// <param name="content">The text.</param>
    public ChatMessage(string role, string content)
    {
        ArgumentNullException.ThrowIfNull(role);
        ArgumentNullException.ThrowIfNull(content);
        Fields = new TemplateDict();
        Fields.Set("role", role);
        Fields.Set("content", content);
    }

    private ChatMessage(TemplateDict fields)
    {
        Fields = fields;
    }

    /// <summary>The fields in their order.</summary>
    internal TemplateDict Fields { get; }

    /// <summary>A message with any fields: content in parts, name, tool_calls, tool_call_id, reasoning_content and so on.</summary>
    /// <exception cref="ChatTemplateException">It is no object, or nested too deeply.</exception>
    public static ChatMessage FromJson(JsonElement message) => JsonValues.From(message) is TemplateDict fields
        ? new ChatMessage(fields)
        : throw new ChatTemplateException($"a message must be an object, not {message.ValueKind}");

    /// <summary>The messages of a JSON array.</summary>
    /// <exception cref="ChatTemplateException">It is no array of objects, or nested too deeply.</exception>
    public static IReadOnlyList<ChatMessage> ListFromJson(JsonElement messages) => messages.ValueKind == JsonValueKind.Array
        ? [.. messages.EnumerateArray().Select(FromJson)]
        : throw new ChatTemplateException($"messages must be an array, not {messages.ValueKind}");
}
