using System.Globalization;

namespace InferenceServer.Demo.Language;

/// <summary>Every question about numbers, by rule.</summary>
internal static class NumberQuestions
{
    private static readonly string[] s_sums = ["What is {0} + {1}?", "What is {0} plus {1}?", "Add {0} and {1}.", "How much is {0} + {1}?"];

    private static readonly string[] s_differences =
        ["What is {0} - {1}?", "What is {0} minus {1}?", "Subtract {1} from {0}.", "How much is {0} - {1}?"];

    private static readonly string[] s_larger = ["Which is larger, {0} or {1}?", "Which number is greater: {0} or {1}?"];

    private static readonly string[] s_smaller = ["Which is smaller, {0} or {1}?", "Which number is less: {0} or {1}?"];

    private static readonly string[] s_after = ["What number comes after {0}?", "Which number follows {0}?", "Count on from {0}."];

    private static readonly string[] s_before = ["What number comes before {0}?", "Which number precedes {0}?", "Count back from {0}."];

    public static IEnumerable<Question> Create()
    {
        for (int a = 1; a <= NumberWords.Max; a++)
        {
            for (int b = 1; b <= NumberWords.Max; b++)
            {
                foreach (Question question in OfPair(a, b))
                {
                    yield return question;
                }
            }

            bool isHeldOut = HeldOutRule.HoldsOut("neighbour", a, a);
            foreach (Question question in OfNumber(a, isHeldOut))
            {
                yield return question;
            }
        }
    }

    private static List<Question> OfPair(int a, int b)
    {
        List<Question> questions = [];
        if (a + b <= NumberWords.Max)
        {
            Add(QuestionKind.Sum, s_sums, "sum", a + b);
        }

        if (a > b)
        {
            Add(QuestionKind.Difference, s_differences, "difference", a - b);
        }

        if (a != b)
        {
            Add(QuestionKind.Comparison, s_larger, "comparison", Math.Max(a, b));
            Add(QuestionKind.Comparison, s_smaller, "comparison", Math.Min(a, b));
        }

        return questions;

        void Add(QuestionKind kind, string[] wordings, string relation, int answer)
        {
            bool isHeldOut = HeldOutRule.HoldsOut(relation, a, b);
            questions.AddRange(wordings.Select(wording => new Question(kind, Text(wording, a, b), Term.Of(answer), isHeldOut)));
        }
    }

    private static IEnumerable<Question> OfNumber(int number, bool isHeldOut)
    {
        IEnumerable<Question> after = number < NumberWords.Max ? s_after.Select(wording => Neighbour(wording, number + 1)) : [];
        IEnumerable<Question> before = number > 1 ? s_before.Select(wording => Neighbour(wording, number - 1)) : [];
        return after.Concat(before);

        Question Neighbour(string wording, int answer) =>
            new(QuestionKind.Neighbour, Text(wording, number, 0), Term.Of(answer), isHeldOut);
    }

    private static string Text(string wording, int a, int b) => string.Format(CultureInfo.InvariantCulture, wording, a, b);
}
