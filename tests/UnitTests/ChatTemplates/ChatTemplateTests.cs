using System.Text.Json;
using InferenceServer.Models.ChatTemplates;
using Xunit;

namespace InferenceServer.UnitTests.ChatTemplates;

public sealed class ChatTemplateTests
{
    private static readonly ChatMessage[] s_hello = [new("user", "Hello")];

    [Fact]
    public void What_a_template_says_against_its_input_reaches_the_caller()
    {
        ChatTemplate template = ChatTemplate.Parse("a\n{% if messages|length < 2 %}\n{{ raise_exception('two messages, not ' ~ messages|length) }}\n{% endif %}");

        ChatTemplateException error = Assert.Throws<ChatTemplateException>(() => template.Render(s_hello));

        Assert.Equal("two messages, not 1", error.RaisedMessage);
        Assert.Equal(3, error.Line);
        Assert.Equal("chat template, line 3: two messages, not 1", error.Message);
    }

    [Theory]
    [InlineData("a\n\n{{ messages[0].nope.x }}", 3, "'dict object' has no attribute 'nope'")]
    [InlineData("{% for m in messages %}\n{{ 'x' + 1 }}{% endfor %}", 2, "unsupported operand type(s) for +: 'str' and 'int'")]
    [InlineData("{% macro m() %}\n{{ nope() }}{% endmacro %}\n\n{{ m() }}", 2, "'nope' is undefined")]
    [InlineData("\n{{ 'x'|nope }}", 2, "No filter named 'nope'.")]
    [InlineData("\n{{\n'x'\n|\nnope }}", 5, "No filter named 'nope'.")]
    public void A_failure_names_its_line_and_cause(string source, int line, string reason)
    {
        ChatTemplateException error = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(source).Render(s_hello));

        Assert.Equal((line, reason), (error.Line, error.Reason));
        Assert.Null(error.RaisedMessage);
    }

    [Theory]
    [InlineData("\n{% if x %}", 2)]
    [InlineData("\n{% endif %}", 2)]
    [InlineData("{% if x %}\n{% endfor %}", 2)]
    [InlineData("{{ x", 1)]
    [InlineData("\n\n{{ x y }}", 3)]
    [InlineData("{{ }}", 1)]
    [InlineData("{{ (1 }}", 1)]
    [InlineData("{{ 'x }}", 1)]
    [InlineData("{{ 1 $ 2 }}", 1)]
    [InlineData("{{ f(a=1, 2) }}", 1)]
    [InlineData("{# x", 1)]
    [InlineData("{% raw %}", 1)]
    [InlineData("{% nope %}", 1)]
    [InlineData("{% set none = 1 %}", 1)]
    [InlineData("{% break %}", 1)]
    [InlineData("{% for i in x %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", 1)]
    [InlineData("{{ '\\ud8' }}", 1)]
    public void A_malformed_template_is_refused_when_read(string source, int line)
    {
        Assert.Equal(line, Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(source)).Line);
    }

    [Fact]
    public void Messages_of_role_and_content_equal_messages_of_json()
    {
        using JsonDocument json = JsonDocument.Parse("[{\"role\": \"user\", \"content\": \"Hello\"}]");
        ChatTemplate template = ChatTemplate.Parse("{{ messages|tojson }}{{ tools is defined }}{{ tools }}{{ add_generation_prompt }}");

        Assert.Equal("[{\"role\": \"user\", \"content\": \"Hello\"}]TrueNoneTrue", template.Render(s_hello));
        Assert.Equal(template.Render(s_hello), template.Render(ChatMessage.ListFromJson(json.RootElement)));
    }

    [Fact]
    public void Options_reach_the_template()
    {
        using JsonDocument json = JsonDocument.Parse("{\"tools\": [{\"name\": \"t\"}], \"documents\": [], \"enable_thinking\": false}");
        ChatRenderOptions options = new()
        {
            AddGenerationPrompt = false,
            Tools = json.RootElement.GetProperty("tools"),
            Documents = json.RootElement.GetProperty("documents"),
            Variables = new Dictionary<string, JsonElement> { ["enable_thinking"] = json.RootElement.GetProperty("enable_thinking") },
            SpecialTokens = new Dictionary<string, string> { ["bos_token"] = "<s>" },
        };

        string text = ChatTemplate.Parse("{{ bos_token }}{{ tools[0].name }}{{ documents }}{{ enable_thinking }}{{ add_generation_prompt }}").Render(s_hello, options);

        Assert.Equal("<s>t[]FalseFalse", text);
    }

    [Fact]
    public void The_clock_is_the_one_given()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ strftime_now('%d %b %Y, %A %-I %p, day %j') }}", timeProvider: new FixedClock("2024-02-29T13:05:09"));

        Assert.Equal("29 Feb 2024, Thursday 1 PM, day 060", template.Render(s_hello));
    }

    [Fact]
    public void Names_set_by_one_rendering_are_not_seen_by_the_next()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ x is defined }}{% set x = 1 %}{% set range = 2 %}");

        Assert.Equal("False", template.Render(s_hello));
        Assert.Equal("False", template.Render(s_hello));
    }

    [Theory]
    [InlineData("[1]")]
    [InlineData("{}")]
    public void Messages_that_are_no_list_of_objects_are_refused(string json)
    {
        using JsonDocument messages = JsonDocument.Parse(json);

        Assert.Throws<ChatTemplateException>(() => ChatMessage.ListFromJson(messages.RootElement));
    }
}
