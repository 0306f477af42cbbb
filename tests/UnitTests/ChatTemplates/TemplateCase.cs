using System.Text.Json;
using InferenceServer.Models.ChatTemplates;
using Xunit;

namespace InferenceServer.UnitTests.ChatTemplates;

/// <summary>One expected rendering, in the form of the golden files: a text, the words of raise_exception, or any error.</summary>
internal static class TemplateCase
{
    /// <summary>Renders a conversation given as JSON; every field that is no option of its own becomes a variable.</summary>
    public static string Render(ChatTemplate template, JsonElement input, JsonElement tokens)
    {
        HashSet<string> own = ["messages", "tools", "documents", "add_generation_prompt"];
        ChatRenderOptions options = new()
        {
            AddGenerationPrompt = input.GetProperty("add_generation_prompt").GetBoolean(),
            Tools = input.TryGetProperty("tools", out JsonElement tools) ? tools : null,
            Documents = input.TryGetProperty("documents", out JsonElement documents) ? documents : null,
            Variables = input.EnumerateObject().Where(field => !own.Contains(field.Name)).ToDictionary(field => field.Name, field => field.Value),
            SpecialTokens = new[] { "bos_token", "eos_token" }
                .Where(name => tokens.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String)
                .ToDictionary(name => name, name => tokens.GetProperty(name).GetString()!),
        };
        return template.Render(ChatMessage.ListFromJson(input.GetProperty("messages")), options);
    }

    public static void Check(JsonElement expected, Func<string> render)
    {
        if (expected.TryGetProperty("text", out JsonElement text))
        {
            Assert.Equal(text.GetString(), render());
        }
        else
        {
            ChatTemplateException error = Assert.Throws<ChatTemplateException>(render);
            Assert.Equal(expected.TryGetProperty("raise", out JsonElement raised) ? raised.GetString() : null, error.RaisedMessage);
        }
    }
}
