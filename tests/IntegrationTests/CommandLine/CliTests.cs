using System.Text.Json;
using InferenceServer.Cli;
using InferenceServer.TestKit.Placeholder;
using Xunit;

namespace InferenceServer.IntegrationTests.CommandLine;

/// <summary>inferencectl against a real server, through the door that Main uses.</summary>
public class CliTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task Generate_streams_text_and_nothing_else_to_a_file()
    {
        string expected =
            (await fixture.Client.GenerateTextAsync("hello", Generate.Greedy("shout", 8) with { Stopping = new() { MaxTokens = 8 } })).Text;

        Run run = await RunAsync("generate", "hello", "--adapter", "shout", "-n", "8", "-t", "0", "--usage");

        Assert.Equal(ExitCodes.Ok, run.Code);
        Assert.Equal(expected + Environment.NewLine, run.Output);
        Assert.Contains("6 prompt tokens", run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', run.Output);
    }

    [Fact]
    public async Task Generate_reads_standard_input_and_prints_json_lines()
    {
        Run run = await RunAsync(["generate", "--json", "-n", "4", "-t", "0"], "hello");

        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(ExitCodes.Ok, run.Code);
        Assert.Equal(6, JsonDocument.Parse(lines[0]).RootElement.GetProperty("started").GetProperty("promptTokens").GetInt32());
        Assert.True(JsonDocument.Parse(lines[^1]).RootElement.TryGetProperty("usage", out _));
    }

    [Fact]
    public async Task Chat_keeps_its_history_until_it_is_reset()
    {
        Run run = await RunAsync(["chat", "--json", "-n", "4", "-t", "0", "--system", "s"], "hi\nhi\n/reset\nhi\n/quit\nhi\n");

        List<int> prompts = [.. run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => JsonDocument.Parse(line).RootElement)
            .Where(message => message.TryGetProperty("started", out _))
            .Select(message => message.GetProperty("started").GetProperty("promptTokens").GetInt32())];
        Assert.Equal(ExitCodes.Ok, run.Code);
        Assert.Equal(3, prompts.Count);
        Assert.True(prompts[1] > prompts[0]);
        Assert.Equal(prompts[0], prompts[2]);
    }

    [Fact]
    public async Task Adapters_go_through_their_life()
    {
        string folder = RunningServer.Sample("whisper");

        Assert.StartsWith("uploaded cli@", (await OkAsync("adapters", "upload", "cli", folder, "--load")).Output, StringComparison.Ordinal);
        Assert.StartsWith("already present cli@", (await OkAsync("adapters", "upload", "cli", folder)).Output, StringComparison.Ordinal);
        Assert.Contains("cli", (await OkAsync("adapters", "list")).Output, StringComparison.Ordinal);
        string digest =
            JsonDocument.Parse((await OkAsync("adapters", "get", "cli", "--json")).Output).RootElement.GetProperty("digest").GetString()!;
        Assert.Contains(digest, (await OkAsync("adapters", "get", "cli")).Output, StringComparison.Ordinal);
        Assert.Contains("pinned", (await OkAsync("adapters", "pin", "cli")).Output, StringComparison.Ordinal);
        Assert.DoesNotContain("pinned", (await OkAsync("adapters", "unpin", "cli")).Output, StringComparison.Ordinal);
        Assert.Contains("current", (await OkAsync("adapters", "activate", $"cli@{digest}")).Output, StringComparison.Ordinal);
        Assert.StartsWith("merged cli@", (await OkAsync("adapters", "merge", "cli")).Output, StringComparison.Ordinal);
        Assert.StartsWith("unmerged cli@", (await OkAsync("adapters", "unmerge")).Output, StringComparison.Ordinal);
        Assert.StartsWith("freed ", (await OkAsync("adapters", "unload", "cli")).Output, StringComparison.Ordinal);
        Assert.Contains("resident", (await OkAsync("adapters", "load", "cli")).Output, StringComparison.Ordinal);
        Assert.StartsWith("deleted 1 version", (await OkAsync("adapters", "delete", "cli")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Info_is_a_table_or_json()
    {
        Assert.Contains(PlaceholderModel.Name, (await OkAsync("info")).Output, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse((await OkAsync("info", "--json")).Output).RootElement;
        Assert.Equal(261, json.GetProperty("model").GetProperty("vocabularySize").GetInt32());
    }

    [Fact]
    public async Task A_refusal_is_one_line_and_exit_code_1()
    {
        Run run = await RunAsync("adapters", "get", "nobody");

        Assert.Equal(ExitCodes.ServerError, run.Code);
        Assert.Equal("", run.Output);
        Assert.StartsWith("error: NotFound: ", run.Errors, StringComparison.Ordinal);
        Assert.Single(run.Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_named_and_exit_code_1()
    {
        using StringWriter errors = new();

        int code = await Cli.CommandLine.RunAsync(["info", "--server", "http://127.0.0.1:1"], TextReader.Null, TextWriter.Null, errors);

        Assert.Equal(ExitCodes.ServerError, code);
        Assert.Contains("http://127.0.0.1:1", errors.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("nonsense")]
    [InlineData("generate", "x", "--max-tokens", "many")]
    [InlineData("adapters", "upload", "only-a-name")]
    [InlineData("adapters", "upload", "x", "/no/such/folder")]
    [InlineData("info", "--timeout", "-1")]
    [InlineData("info", "--server", "nowhere")]
    public async Task A_wrong_command_line_is_exit_code_2(params string[] arguments)
    {
        using StringWriter errors = new();

        int code = await Cli.CommandLine.RunAsync(arguments, TextReader.Null, TextWriter.Null, errors);

        Assert.Equal(ExitCodes.Usage, code);
        Assert.NotEqual("", errors.ToString());
    }

    [Fact]
    public async Task Ctrl_c_ends_a_stream_with_exit_code_130()
    {
        using CancellationTokenSource interrupt = new();
        using InterruptingWriter output = new(interrupt);
        using StringWriter errors = new();

        int code = await Cli.CommandLine.RunAsync(
            ["generate", "hello", "-n", "1800", "-t", "0", "--server", fixture.Server.Host.GrpcAddress.ToString()],
            TextReader.Null,
            output,
            errors,
            interrupt.Token);

        Assert.Equal(ExitCodes.Cancelled, code);
        Assert.Equal("cancelled", errors.ToString().Trim());
    }

    private async Task<Run> OkAsync(params string[] arguments)
    {
        Run run = await RunAsync(arguments);
        Assert.True(run.Code == ExitCodes.Ok, $"{string.Join(' ', arguments)}: exit code {run.Code}: {run.Errors}");
        return run;
    }

    private Task<Run> RunAsync(params string[] arguments) => RunAsync(arguments, "");

    private async Task<Run> RunAsync(string[] arguments, string input)
    {
        using StringReader reader = new(input);
        using StringWriter output = new();
        using StringWriter errors = new();
        int code = await Cli.CommandLine.RunAsync(
            [.. arguments, "--server", fixture.Server.Host.GrpcAddress.ToString()], reader, output, errors);
        return new Run(code, output.ToString(), errors.ToString());
    }

    private sealed record Run(int Code, string Output, string Errors);

    /// <summary>Presses Ctrl-C, as it were, once text arrives.</summary>
    private sealed class InterruptingWriter(CancellationTokenSource interrupt) : StringWriter
    {
        public override async Task WriteAsync(string? value)
        {
            await base.WriteAsync(value);
            await interrupt.CancelAsync();
        }
    }
}
