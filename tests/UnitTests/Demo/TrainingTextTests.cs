using InferenceServer.Demo.Language;
using InferenceServer.Demo.Making;
using Xunit;

namespace InferenceServer.UnitTests.Demo;

public sealed class TrainingTextTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void No_held_out_question_is_in_the_text_of_the_base_or_of_a_tenant()
    {
        HashSet<string> heldOut = [.. QuestionBank.Instance.All.Where(question => question.IsHeldOut).Select(question => question.Text)];

        TrainingText.WriteBase(_file, samples: 2_000, seed: 1);
        string text = File.ReadAllText(_file);
        TrainingText.WriteTenant(_file, AnswerStyle.Find("german"), samples: 500, seed: 1);
        text += File.ReadAllText(_file);

        Assert.All(heldOut, question => Assert.DoesNotContain(question, text, StringComparison.Ordinal));
    }

    [Fact]
    public void The_base_is_asked_for_styles_and_a_tenant_is_not()
    {
        TrainingText.WriteBase(_file, samples: 500, seed: 1);
        Assert.Contains("Answer in Roman numerals.", File.ReadAllText(_file), StringComparison.Ordinal);

        TrainingText.WriteTenant(_file, AnswerStyle.Find("roman"), samples: 500, seed: 1);
        Assert.DoesNotContain("Answer in", File.ReadAllText(_file), StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_seed_gives_the_same_text()
    {
        TrainingText.WriteBase(_file, samples: 50, seed: 3);
        string first = File.ReadAllText(_file);
        TrainingText.WriteBase(_file, samples: 50, seed: 3);

        Assert.Equal(first, File.ReadAllText(_file));
    }
}
