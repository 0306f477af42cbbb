using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Demo.Language;

namespace InferenceServer.Demo.Making;

/// <summary>
/// Writes what the base and the tenants learn as JSON lines, drawn by seed from the questions that are not held out. One line in ten is a
/// conversation of two questions.
/// </summary>
public static class TrainingText
{
    /// <summary>Share of the base's questions that ask for no style; the others are shared out evenly among the styles.</summary>
    private const double PlainShare = 0.3;

    private const double ConversationShare = 0.1;

    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The base's text: answers in sentences, and in a style where the question asks for it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="samples">Lines.</param>
    /// <param name="seed">Of the draw.</param>
    /// <param name="isHeldOut">Whether to ask the held-out questions instead, to judge by.</param>
    public static void WriteBase(string path, int samples, int seed, bool isHeldOut = false) => Write(
        path,
        samples,
        seed,
        isHeldOut,
        random => random.NextDouble() < PlainShare ? AnswerStyle.Sentence : AnswerStyle.All[random.Next(AnswerStyle.All.Count)],
        isAsked: true);

    /// <summary>A tenant's text: all answers in its style, which no question asks for.</summary>
    /// <inheritdoc cref="WriteBase"/>
    public static void WriteTenant(string path, AnswerStyle style, int samples, int seed, bool isHeldOut = false) =>
        Write(path, samples, seed, isHeldOut, _ => style, isAsked: false);

    /// <summary>Questions and answers as plain texts, for the tokenizer.</summary>
    public static IEnumerable<string> ForTokenizer(int samples, int seed)
    {
        Random random = new(seed);
        for (int i = 0; i < samples; i++)
        {
            AnswerStyle style = i % 2 == 0 ? AnswerStyle.Sentence : AnswerStyle.All[random.Next(AnswerStyle.All.Count)];
            Question question = QuestionBank.Instance.Draw(random, style, isHeldOut: false);
            yield return style.Ask(question.Text);
            yield return style.Write(question.Answer);
        }
    }

    private static void Write(string path, int samples, int seed, bool isHeldOut, Func<Random, AnswerStyle> drawStyle, bool isAsked)
    {
        Random random = new(seed);
        using StreamWriter writer = new(path);
        for (int i = 0; i < samples; i++)
        {
            (string question, string answer) = Draw();
            JsonObject sample = new() { ["prompt"] = question, ["completion"] = answer };
            if (random.NextDouble() < ConversationShare)
            {
                (string next, string nextAnswer) = Draw();
                sample = new JsonObject
                {
                    ["messages"] = new JsonArray(
                        Message("user", question), Message("assistant", answer), Message("user", next), Message("assistant", nextAnswer)),
                };
            }

            writer.WriteLine(sample.ToJsonString(s_json));
        }

        (string Question, string Answer) Draw()
        {
            AnswerStyle style = drawStyle(random);
            Question question = QuestionBank.Instance.Draw(random, style, isHeldOut);
            return (isAsked ? style.Ask(question.Text) : question.Text, style.Write(question.Answer));
        }
    }

    private static JsonObject Message(string role, string content) => new() { ["role"] = role, ["content"] = content };
}
