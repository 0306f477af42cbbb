using InferenceServer.Demo.Language;
using Xunit;

namespace InferenceServer.UnitTests.Demo;

/// <summary>What is held out really is, and right answers are right.</summary>
public class QuestionBankTests
{
    [Fact]
    public void No_question_is_both_learnt_and_held_out()
    {
        HashSet<string> learnt = [.. QuestionBank.Instance.All.Where(question => !question.IsHeldOut).Select(question => question.Text)];

        Assert.DoesNotContain(QuestionBank.Instance.All, question => question.IsHeldOut && learnt.Contains(question.Text));
    }

    [Fact]
    public void A_text_has_one_answer()
    {
        Assert.All(QuestionBank.Instance.All.GroupBy(question => question.Text), group => Assert.Single(group));
    }

    [Fact]
    public void Two_numbers_are_held_out_in_either_order_and_every_wording()
    {
        // Sums: both orders and four wordings of a pair stand or fall together.
        Question[] sums = [.. QuestionBank.Instance.All.Where(question => question.Kind == QuestionKind.Sum)];
        foreach (IGrouping<(int, int), Question> pair in sums.GroupBy(question => Pair(question.Text)))
        {
            Assert.Single(pair.Select(question => question.IsHeldOut).Distinct());
            Assert.Equal(pair.Key.Item1 == pair.Key.Item2 ? 4 : 8, pair.Count());
            Assert.All(pair, question => Assert.Equal(pair.Key.Item1 + pair.Key.Item2, question.Answer.Number));
        }

        Assert.InRange((double)sums.Count(question => question.IsHeldOut) / sums.Length, 0.08, 0.12);
    }

    [Theory]
    [InlineData(QuestionKind.Sum)]
    [InlineData(QuestionKind.Difference)]
    [InlineData(QuestionKind.Comparison)]
    [InlineData(QuestionKind.Neighbour)]
    [InlineData(QuestionKind.Fact)]
    public void There_are_questions_of_each_kind_on_both_sides(QuestionKind kind)
    {
        Assert.Contains(QuestionBank.Instance.All, question => question.Kind == kind && question.IsHeldOut);
        Assert.Contains(QuestionBank.Instance.All, question => question.Kind == kind && !question.IsHeldOut);
    }

    [Fact]
    public void A_fact_is_held_out_in_one_of_its_four_wordings()
    {
        Question[] facts = [.. QuestionBank.Instance.All.Where(question => question.Kind == QuestionKind.Fact)];

        Assert.Equal(facts.Length, 4 * facts.Count(question => question.IsHeldOut));
    }

    [Theory]
    [InlineData("What day comes after Sunday?", "Monday", "Montag")]
    [InlineData("Name the month before January.", "December", "Dezember")]
    [InlineData("What is the opposite of cold?", "hot", "heiß")]
    [InlineData("Tell me the capital of Austria.", "Vienna", "Wien")]
    [InlineData("What is 40 - 17?", "23", "dreiundzwanzig")]
    [InlineData("Which is larger, 8 or 71?", "71", "einundsiebzig")]
    [InlineData("Count back from 60.", "59", "neunundfünfzig")]
    public void An_answer_is_right(string text, string english, string german)
    {
        Question question = QuestionBank.Instance.All.Single(question => question.Text == text);

        Assert.Equal((english, german), (question.Answer.English, question.Answer.German));
    }

    [Fact]
    public void Every_style_writes_the_same_answer_in_its_own_way()
    {
        string[] answers = [AnswerStyle.Sentence.Write(Term.Of(42)), .. AnswerStyle.All.Select(style => style.Write(Term.Of(42)))];

        Assert.Equal(
            ["The answer is 42.", "42", "forty-two", "Die Antwort ist zweiundvierzig.", "XLII", "{\"answer\": 42}", "THE ANSWER IS FORTY-TWO."],
            answers);
    }

    [Fact]
    public void The_test_questions_are_always_the_same_and_held_out()
    {
        AnswerStyle roman = AnswerStyle.Find("roman");

        IReadOnlyList<Question> questions = QuestionBank.Instance.Test(roman, 50);

        Assert.Equal(questions, QuestionBank.Instance.Test(roman, 50));
        Assert.Equal(50, questions.Distinct().Count());
        Assert.All(questions, question => Assert.True(question.IsHeldOut && question.Answer.Number is not null));
    }

    private static (int, int) Pair(string text)
    {
        int[] numbers = [.. text.Split(' ', '.', '?').Where(word => int.TryParse(word, out _)).Select(int.Parse).Order()];
        return (numbers[0], numbers[1]);
    }
}
