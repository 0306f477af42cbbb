using InferenceServer.Models;
using InferenceServer.Training.Data;

namespace InferenceServer.Training.Jobs;

/// <summary>How a job's data set is read.</summary>
public sealed record DataSpec
{
    private const int LongestName = 200;

    /// <summary>What errors call the data set.</summary>
    public string Name { get; init; } = "data.jsonl";

    /// <summary>Longest sample.</summary>
    public int MaxSampleTokens { get; init; } = 512;

    /// <summary>What becomes of longer ones.</summary>
    public LongSamplePolicy LongSamples { get; init; } = LongSamplePolicy.Truncate;

    /// <summary>Share held out to judge by.</summary>
    public double HeldOutShare { get; init; } = 0.05;

    /// <summary>Of the split and of the order of samples.</summary>
    public int Seed { get; init; }

    /// <summary>Reads a data set for a model.</summary>
    /// <param name="path">JSON lines.</param>
    /// <param name="model">Its tokenizer and chat template make tokens of them.</param>
    /// <exception cref="TrainingSpecException">A field does not go with the model.</exception>
    /// <exception cref="DatasetException">The data set is not one; the message names line and field.</exception>
    public Dataset Read(string path, LanguageModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (model.Tokenizer is null)
        {
            throw new TrainingSpecException("data", $"{model.Name} has no tokenizer to read it with");
        }

        if (MaxSampleTokens > model.Transformer.MaxModelLength)
        {
            throw new TrainingSpecException(
                "data.max_sample_tokens", $"{MaxSampleTokens} exceeds the model's {model.Transformer.MaxModelLength} positions");
        }

        DatasetOptions options = new()
        {
            MaxSampleTokens = MaxSampleTokens,
            LongSamples = LongSamples,
            VocabularySize = model.Transformer.Config.VocabularySize,
        };
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        return Dataset.Read(stream, Name, model.Tokenizer, model.ChatTemplates, options);
    }

    /// <summary>Splits a data set as a job with these settings does.</summary>
    /// <exception cref="TrainingSpecException">Nothing would be left to learn.</exception>
    public (Dataset Train, Dataset HeldOut) Split(Dataset all)
    {
        ArgumentNullException.ThrowIfNull(all);
        try
        {
            return all.Split(HeldOutShare, Seed);
        }
        catch (ArgumentException error)
        {
            throw new TrainingSpecException("data.held_out_share", error.Message, error);
        }
    }

    /// <exception cref="TrainingSpecException">A value is out of its range.</exception>
    public void Check()
    {
        if (Name.Length > LongestName || Name.Any(char.IsControl))
        {
            throw new TrainingSpecException("data.name", $"{Name.Length} characters: has to be at most {LongestName}, without control characters");
        }

        TrainingSpecException.Require(MaxSampleTokens >= 2, "data.max_sample_tokens", MaxSampleTokens, "at least 2");
        TrainingSpecException.Require(HeldOutShare is >= 0 and < 1, "data.held_out_share", HeldOutShare, "from 0 to below 1");
    }
}
