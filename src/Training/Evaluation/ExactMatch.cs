using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Models;
using InferenceServer.Models.Tokenization;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Training.Data;

namespace InferenceServer.Training.Evaluation;

/// <summary>
/// Asks a model the questions of a data set and counts the answers whose text is the expected one, both without space at their ends.
/// </summary>
public static class ExactMatch
{
    /// <summary>Asks with a generator that is there.</summary>
    /// <param name="generator">Answers.</param>
    /// <param name="tokenizer">The model's.</param>
    /// <param name="questions">What is asked; see <see cref="Dataset.Questions"/>.</param>
    /// <param name="options">How much.</param>
    /// <param name="adapter">The adapter to ask; null for the base.</param>
    /// <param name="cancellation">Stops between two steps.</param>
    /// <exception cref="ArgumentException">A prompt does not fit the model.</exception>
    /// <exception cref="TrainingFailedException">A logit is not finite.</exception>
    public static ExactMatchResult Measure(
        GreedyGenerator generator,
        Tokenizer tokenizer,
        IEnumerable<SampleQuestion> questions,
        ExactMatchOptions options,
        DeviceAdapter? adapter = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(generator);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(options);
        SampleQuestion[] asked = [.. questions.Take(options.MaxQuestions ?? int.MaxValue)];
        int[][] answers = generator.Generate([.. asked.Select(question => question.Prompt)], options.MaxTokens, adapter, cancellation);
        AnswerText text = new(tokenizer, generator.EndTokens);
        List<WrongAnswer> wrong = [];
        int right = 0;
        for (int i = 0; i < asked.Length; i++)
        {
            (ReadOnlyMemory<int> prompt, ReadOnlyMemory<int> expectedTokens, int line) = asked[i];
            string expected = text.Of(prompt.Span, expectedTokens.Span);
            string answer = text.Of(prompt.Span, answers[i]);
            if (answer == expected)
            {
                right++;
            }
            else if (wrong.Count < options.MaxExamples)
            {
                wrong.Add(new WrongAnswer(line, tokenizer.Decode(prompt.ToArray()), expected, answer));
            }
        }

        return new ExactMatchResult(right, asked.Length, wrong);
    }

    /// <summary>Asks an adapter that was exported to a folder, or the base, through the door that serving uses.</summary>
    /// <param name="model">The base; it may serve meanwhile through another backend.</param>
    /// <param name="backend">A backend of the model's kind, for this call alone.</param>
    /// <param name="adapterFolder">Folder in PEFT's format; null for the base.</param>
    /// <param name="questions">What is asked.</param>
    /// <param name="options">How much.</param>
    /// <param name="cancellation">Stops between two steps.</param>
    /// <exception cref="AdapterFormatException">The adapter does not fit the base.</exception>
    /// <exception cref="ArgumentException">The model has no tokenizer, or a prompt does not fit it.</exception>
    /// <exception cref="TrainingFailedException">A logit is not finite.</exception>
    public static ExactMatchResult OfFolder(
        LanguageModel model,
        IComputeBackend backend,
        string? adapterFolder,
        IEnumerable<SampleQuestion> questions,
        ExactMatchOptions options,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(backend);
        Tokenizer tokenizer = model.Tokenizer ?? throw new ArgumentException($"{model.Name} has no tokenizer");
        using DeviceAdapter? adapter = adapterFolder is null ? null : Load(model, backend, adapterFolder, cancellation);
        using GreedyGenerator generator = new(model.Transformer, backend, model.Defaults.EosTokenIds);
        return Measure(generator, tokenizer, questions, options, adapter, cancellation);
    }

    private static DeviceAdapter Load(LanguageModel model, IComputeBackend backend, string folder, CancellationToken cancellation)
    {
        PeftImporter importer = new(model.Transformer.Shape);
        AdapterWeights weights = importer.Import(folder, Path.GetFileName(folder), cancellation: cancellation).Weights;
        return backend.CreateAdapter(weights, model.Transformer.WeightFormat.Unquantized());
    }
}
