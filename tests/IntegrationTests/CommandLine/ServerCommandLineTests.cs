using System.Collections;
using InferenceServer.Server.Hosting;
using Xunit;

namespace InferenceServer.IntegrationTests.CommandLine;

public class ServerCommandLineTests
{
    private static readonly Hashtable s_nothing = [];

    [Fact]
    public void An_option_that_is_true_or_false_can_be_turned_off_by_its_name()
    {
        ServerCommandLine line = ServerCommandLine.Parse(["--no-graphs", "--no-training", "--max-queue", "3"], new Hashtable());

        Assert.Equal("false", line.Settings["Cuda:Graphs"]);
        Assert.Equal("false", line.Settings["Training:Enabled"]);
        Assert.Equal("3", line.Settings["Scheduler:MaxWaiting"]);
        Assert.Throws<CommandLineException>(() => ServerCommandLine.Parse(["--no-max-queue"], new Hashtable()));
    }

    [Fact]
    public void Options_may_be_given_with_a_space_or_an_equals_sign()
    {
        ServerCommandLine parsed = ServerCommandLine.Parse(["--model", "m", "--max-queue=7", "--max-message", "2MiB"], s_nothing);

        Assert.Equal(ServerMode.Serve, parsed.Mode);
        Assert.Equal("m", parsed.Settings["Server:Model"]);
        Assert.Equal("7", parsed.Settings["Scheduler:MaxWaiting"]);
        Assert.Equal("2097152", parsed.Settings["Server:MaxMessageBytes"]);
    }

    [Fact]
    public void The_command_line_wins_over_the_environment()
    {
        Hashtable environment = new() { ["INFERENCESERVER_MAX_QUEUE"] = "1", ["INFERENCESERVER_DATA"] = "d" };

        ServerCommandLine parsed = ServerCommandLine.Parse(["--max-queue", "2"], environment);

        Assert.Equal("2", parsed.Settings["Scheduler:MaxWaiting"]);
        Assert.Equal("d", parsed.Settings["Server:Data"]);
    }

    [Theory]
    [InlineData("--modell", "unknown option '--modell'")]
    [InlineData("model", "unknown option 'model'")]
    [InlineData("--model", "--model needs a value: FOLDER")]
    [InlineData("--max-queue=many", "--max-queue 'many' is not a whole number")]
    [InlineData("--weights=int4", "--weights 'int4' is not one of bf16, int8, nf4, f32")]
    [InlineData("--max-message=lots", "--max-message 'lots' is not a size")]
    public void What_is_not_understood_is_named(string argument, string message)
    {
        CommandLineException error = Assert.Throws<CommandLineException>(() => ServerCommandLine.Parse([argument], s_nothing));

        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--help", ServerMode.Help)]
    [InlineData("--version", ServerMode.Version)]
    [InlineData("--health-check", ServerMode.HealthCheck)]
    public void Modes_are_recognised(string argument, ServerMode mode)
    {
        Assert.Equal(mode, ServerCommandLine.Parse([argument], s_nothing).Mode);
    }

    [Theory]
    [InlineData("0", 0)]
    [InlineData("4096", 4096)]
    [InlineData("512MiB", 512L << 20)]
    [InlineData("1.5 GiB", 3L << 29)]
    [InlineData("4gb", 4_000_000_000)]
    public void Sizes_are_read(string text, long bytes)
    {
        Assert.True(ByteSize.TryParse(text, out long parsed));
        Assert.Equal(bytes, parsed);
    }

    [Theory]
    [InlineData("")]
    [InlineData("-1")]
    [InlineData("MiB")]
    [InlineData("1e9")]
    [InlineData("99999999999TiB")]
    public void What_is_no_size_is_refused(string text)
    {
        Assert.False(ByteSize.TryParse(text, out _));
    }

    [Fact]
    public void Help_names_every_option_and_its_default()
    {
        string help = ServerCommandLine.Help();

        Assert.Contains("--max-queue N", help, StringComparison.Ordinal);
        Assert.Contains("default: http://127.0.0.1:5100", help, StringComparison.Ordinal);
        Assert.Contains("INFERENCESERVER_MAX_QUEUE", help, StringComparison.Ordinal);
    }
}
