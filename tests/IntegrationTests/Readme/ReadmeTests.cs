using System.Collections;
using InferenceServer.Cli;
using InferenceServer.Server.Hosting;
using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.Readme;

/// <summary>The README's commands do what they say.</summary>
public class ReadmeTests(ITestOutputHelper output)
{
    private const string Server = "dotnet run --project src/Server";
    private const string ServerRelease = "dotnet run -c Release --project src/Server";
    private const string Cli = "dotnet run --project src/Cli --";
    private const string TestCommand = "dotnet test InferenceServer.sln";

    [Fact]
    public void The_first_two_commands_start_the_server_and_run_all_tests()
    {
        Assert.Contains(ReadmeCommands.All[0], (string[])[Server, ServerRelease]);
        Assert.Equal(TestCommand, ReadmeCommands.All[1]);
        string ci = File.ReadAllText(Path.Combine(GoldenData.RepositoryRoot()!, ".ci", "run"));
        Assert.Contains("dotnet test \"$solution\"", ci, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_command_that_starts_a_server_is_understood()
    {
        foreach (string[] arguments in ReadmeCommands.Arguments(Server).Concat(ReadmeCommands.Arguments(ServerRelease)))
        {
            ServerCommandLine.Parse([.. arguments.Where(word => word != "--")], new Hashtable());
        }
    }

    [Fact]
    public async Task Every_command_of_the_command_line_works_in_order()
    {
        IReadOnlyList<string[]> commands = ReadmeCommands.Arguments(Cli);
        Assert.Contains(commands, words => words is ["generate", ..]);
        Assert.Contains(commands, words => words is ["adapters", "upload", ..]);
        Assert.Contains(commands, words => words is ["train", ..]);

        // The demo is what the README serves. What it trains is trained on a smaller base here: in a build for debugging the demo's takes minutes.
        await using (RunningServer demo = await RunningServer.StartDemoAsync())
        {
            await RunAsync(demo, commands.TakeWhile(words => words is not ["train", ..]));
        }

        await using RunningServer small = await RunningServer.StartAsync();
        await RunAsync(small, commands.SkipWhile(words => words is not ["train", ..]));
    }

    private async Task RunAsync(RunningServer server, IEnumerable<string[]> commands)
    {
        foreach (string[] arguments in commands)
        {
            string[] words = [.. arguments.Select(FromRoot)];
            using StringReader input = new("hello\n/quit\n");
            using StringWriter text = new();
            using StringWriter errors = new();

            int code = await InferenceServer.Cli.CommandLine.RunAsync(
                [.. words, "--server", server.Host.GrpcAddress.ToString()], input, text, errors);

            output.WriteLine($"{string.Join(' ', arguments)}\n{text}{errors}");
            Assert.True(code == ExitCodes.Ok, $"{string.Join(' ', arguments)}: exit code {code}: {errors}");
        }
    }

    /// <summary>Folders in the README are relative to the repository.</summary>
    private static string FromRoot(string word)
    {
        return word.StartsWith("samples/", StringComparison.Ordinal) ? Path.Combine(GoldenData.RepositoryRoot()!, word) : word;
    }
}
