using System.Text.Json;
using InferenceServer.Models;
using InferenceServer.Models.ChatTemplates;
using Xunit;

namespace InferenceServer.UnitTests.ChatTemplates;

public sealed class ChatTemplateSetTests : IDisposable
{
    private static readonly ChatMessage[] s_hello = [new("user", "Hello")];

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("chat-templates-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void A_folder_without_template_has_no_set()
    {
        Write("tokenizer_config.json", "{\"bos_token\": \"<s>\", \"chat_template\": null}");

        Assert.Null(ChatTemplateSet.FromFolder(_folder.FullName));
    }

    [Fact]
    public void A_single_template_is_rendered_with_the_special_tokens()
    {
        Write("tokenizer_config.json", "{\"bos_token\": {\"content\": \"<s>\", \"lstrip\": false}, \"eos_token\": \"</s>\", \"pad_token\": null, "
            + "\"chat_template\": \"{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token is defined }}{{ unk_token }}\"}");
        Write("special_tokens_map.json", "{\"unk_token\": \"<unk>\", \"eos_token\": \"overruled\"}");

        ChatTemplateSet set = ChatTemplateSet.FromFolder(_folder.FullName)!;

        Assert.Equal("<s>Hello</s>False<unk>", set.Render(s_hello));
        Assert.Equal(["default"], set.Names);
    }

    [Fact]
    public void Tools_choose_the_template_made_for_them()
    {
        Write("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"default\", \"template\": \"D\"}, {\"name\": \"tool_use\", \"template\": \"T\"}, {\"name\": \"rag\", \"template\": \"R\"}]}");
        using JsonDocument tools = JsonDocument.Parse("[]");

        ChatTemplateSet set = ChatTemplateSet.FromFolder(_folder.FullName)!;

        Assert.Equal("D", set.Render(s_hello));
        Assert.Equal("T", set.Render(s_hello, new ChatRenderOptions { Tools = tools.RootElement }));
        Assert.Equal("R", set.Render(s_hello, name: "rag"));
        Assert.Contains("default, rag, tool_use", Assert.Throws<ChatTemplateException>(() => set.Render(s_hello, name: "x")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_template_file_wins_over_the_config()
    {
        Write("tokenizer_config.json", "{\"eos_token\": \"</s>\", \"chat_template\": \"config\"}");
        Write("chat_template.json", "{\"chat_template\": \"json\"}");
        Assert.Equal("config", ChatTemplateSet.FromFolder(_folder.FullName)!.Render(s_hello));

        Write("chat_template.jinja", "file{{ eos_token }}\n");
        Directory.CreateDirectory(Path.Combine(_folder.FullName, "additional_chat_templates"));
        Write("additional_chat_templates/tool_use.jinja", "tools");
        ChatTemplateSet set = ChatTemplateSet.FromFolder(_folder.FullName)!;
        Assert.Equal("file</s>", set.Render(s_hello));
        Assert.Equal(["default", "tool_use"], set.Names);

        File.Delete(Path.Combine(_folder.FullName, "chat_template.jinja"));
        Write("tokenizer_config.json", "{}");
        Assert.Equal("json", ChatTemplateSet.FromFolder(_folder.FullName)!.Render(s_hello));
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{\"chat_template\": 1}")]
    [InlineData("{\"chat_template\": [{\"name\": \"x\"}]}")]
    [InlineData("{\"chat_template\": [\"x\"]}")]
    [InlineData("{\"chat_template\": \"{{\"}")]
    public void A_malformed_file_is_named(string config)
    {
        Write("tokenizer_config.json", config);

        ModelFormatException error = Assert.Throws<ModelFormatException>(() => ChatTemplateSet.FromFolder(_folder.FullName));

        Assert.EndsWith("tokenizer_config.json", error.File, StringComparison.Ordinal);
    }

    private void Write(string file, string text) => File.WriteAllText(Path.Combine(_folder.FullName, file), text);
}
