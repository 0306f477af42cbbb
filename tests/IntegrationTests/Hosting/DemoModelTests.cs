using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

/// <summary>What is served when no model is named.</summary>
public class DemoModelTests
{
    private const string Question = "What is 17 + 25?";

    private static readonly (string Adapter, string Answer)[] s_answers =
    [
        ("", "The answer is 42."), ("brief", "42"), ("capitals", "THE ANSWER IS FORTY-TWO."), ("german", "Die Antwort ist zweiundvierzig."),
        ("json", "{\"answer\": 42}"), ("roman", "XLII"), ("words", "forty-two"),
    ];

    [Fact]
    public async Task The_base_and_its_tenants_answer_the_same_question_each_in_its_own_way()
    {
        await using RunningServer server = await RunningServer.StartDemoAsync();

        Assert.Equal("demo-base", (await server.Client.GetInfoAsync()).Model.Name);
        Assert.Equal(s_answers.Select(each => each.Adapter).Where(name => name.Length > 0), await NamesAsync(server));
        (string, string)[] answers = await Task.WhenAll(s_answers.Select(async each => (each.Adapter, await AnswerAsync(server, each.Adapter))));
        Assert.Equal(s_answers, answers);
    }

    [Fact]
    public async Task A_chat_gives_the_model_the_same_tokens_as_a_text()
    {
        await using RunningServer server = await RunningServer.StartDemoAsync();

        GenerationResult chat = await server.Client.ChatAsync([new ChatMessage { Role = "user", Content = Question }], Settings("roman"));

        Assert.Equal("XLII", chat.Text);
    }

    [Fact]
    public async Task What_was_deleted_or_replaced_stays_so_at_the_next_start()
    {
        using TemporaryFolder data = new();
        string replaced;
        await using (RunningServer first = await RunningServer.StartDemoAsync(data.Path))
        {
            string brief = (await first.Client.Adapters.GetAsync("brief")).Digest;
            await first.Client.Adapters.DeleteAsync("roman", allVersions: true);
            replaced = (await first.Client.Adapters.UploadFolderAsync("words", VersionFolder(data.Path, "brief", brief))).Adapter.Digest;
        }

        await using RunningServer second = await RunningServer.StartDemoAsync(data.Path);

        Assert.DoesNotContain("roman", await NamesAsync(second));
        Assert.Equal(replaced, (await second.Client.Adapters.GetAsync("words")).Digest);
        Assert.Equal("42", await AnswerAsync(second, "words"));
    }

    [Fact]
    public async Task A_name_that_was_taken_before_is_left_alone()
    {
        using TemporaryFolder data = new();
        string own;
        await using (RunningServer other = await RunningServer.StartAsync(data.Path, configure: null))
        {
            own = (await other.Client.Adapters.UploadFolderAsync("json", RunningServer.Sample("shout"))).Adapter.Digest;
        }

        await using RunningServer demo = await RunningServer.StartDemoAsync(data.Path);

        Assert.Equal(own, (await demo.Client.Adapters.GetAsync("json")).Digest);
        Assert.Equal("forty-two", await AnswerAsync(demo, "words"));
    }

    private static string VersionFolder(string data, string name, string digest) => Path.Combine(data, "adapters", name, digest);

    private static async Task<List<string>> NamesAsync(RunningServer server) =>
        await server.Client.Adapters.ListAsync().Select(adapter => adapter.Name).ToListAsync();

    private static async Task<string> AnswerAsync(RunningServer server, string adapter) =>
        (await server.Client.GenerateTextAsync(Question, Settings(adapter))).Text;

    private static GenerationSettings Settings(string adapter) =>
        new() { Adapter = adapter, Sampling = new SamplingParameters { Temperature = 0 } };
}
