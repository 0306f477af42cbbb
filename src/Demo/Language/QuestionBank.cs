namespace InferenceServer.Demo.Language;

/// <summary>All questions there are, parted into those to learn and those to test.</summary>
public sealed class QuestionBank
{
    // Shares of the draw: what is harder is asked more often.
    private static readonly (QuestionKind Kind, double Share)[] s_shares =
    [
        (QuestionKind.Sum, 0.3), (QuestionKind.Difference, 0.36), (QuestionKind.Comparison, 0.16), (QuestionKind.Neighbour, 0.08),
        (QuestionKind.Fact, 0.1),
    ];

    private readonly Dictionary<(QuestionKind Kind, bool IsHeldOut), Question[]> _questions;

    private QuestionBank(IEnumerable<Question> questions) =>
        _questions = questions.GroupBy(question => (question.Kind, question.IsHeldOut)).ToDictionary(group => group.Key, group => group.ToArray());

    public static QuestionBank Instance { get; } = new([.. NumberQuestions.Create(), .. FactQuestions.Create()]);

    public IEnumerable<Question> All => _questions.Values.SelectMany(group => group);

    /// <summary>Draws a question that the style can answer.</summary>
    public Question Draw(Random random, AnswerStyle style, bool isHeldOut)
    {
        ArgumentNullException.ThrowIfNull(random);
        ArgumentNullException.ThrowIfNull(style);
        while (true)
        {
            Question[] group = _questions[(DrawKind(random), isHeldOut)];
            Question question = group[random.Next(group.Length)];
            if (style.Fits(question.Answer))
            {
                return question;
            }
        }
    }

    /// <summary>Some held-out questions that the style can answer, no two alike, always the same ones.</summary>
    public IReadOnlyList<Question> Test(AnswerStyle style, int count)
    {
        Random random = new(20_261_122);
        HashSet<Question> drawn = [];
        List<Question> questions = [];
        while (questions.Count < count)
        {
            Question question = Draw(random, style, isHeldOut: true);
            if (drawn.Add(question))
            {
                questions.Add(question);
            }
        }

        return questions;
    }

    private static QuestionKind DrawKind(Random random)
    {
        double place = random.NextDouble();
        foreach ((QuestionKind kind, double share) in s_shares)
        {
            place -= share;
            if (place < 0)
            {
                return kind;
            }
        }

        return s_shares[0].Kind;
    }
}
