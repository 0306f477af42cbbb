using InferenceServer.Demo;
using Xunit;

namespace InferenceServer.UnitTests.Demo;

public class DemoCommandTests
{
    [Fact]
    public void Without_arguments_the_committed_demo_is_made()
    {
        DemoCommand command = DemoCommand.Parse([]);

        Assert.False(command.IsVerify);
        Assert.Equal(Path.Combine("samples", "demo"), command.Out);
    }

    [Fact]
    public void Options_follow_the_verb()
    {
        DemoCommand command = DemoCommand.Parse(["verify", "--out", "there", "--questions", "12", "--threads", "1"]);

        Assert.Equal((true, "there", 12, 1), (command.IsVerify, command.Out, command.Questions, command.Threads));
    }

    [Theory]
    [InlineData("'burn' is unknown", "burn")]
    [InlineData("'verify' is unknown", "make", "verify")]
    [InlineData("--out needs a value", "--out")]
    [InlineData("--questions '0' is not a number of at least 1", "--questions", "0")]
    [InlineData("'shout' is no style", "--tenant", "shout")]
    public void What_makes_no_sense_is_refused_by_name(string message, params string[] arguments)
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => DemoCommand.Parse(arguments));

        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
    }
}
