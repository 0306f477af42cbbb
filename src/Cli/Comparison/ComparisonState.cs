using System.Text.Json;

namespace InferenceServer.Cli.Comparison;

/// <summary>What is done of a comparison, kept in a file so that it can be interrupted and taken up again.</summary>
internal sealed class ComparisonState
{
    public const string FileName = "state.json";

    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    private readonly string _path;
    private readonly Content _content;

    private ComparisonState(string path, Content content)
    {
        _path = path;
        _content = content;
    }

    public IReadOnlyList<Trial> Trials => _content.Trials;

    /// <summary>Opens what a folder has, or begins.</summary>
    /// <param name="folder">Made when it is missing.</param>
    /// <param name="conditions">What must be the same for trials to be comparable, by name.</param>
    /// <exception cref="UsageException">The folder holds a comparison under other conditions.</exception>
    public static ComparisonState Open(string folder, IReadOnlyDictionary<string, string> conditions)
    {
        string path = Path.Combine(Directory.CreateDirectory(folder).FullName, FileName);
        if (!File.Exists(path))
        {
            return new ComparisonState(path, new Content { Conditions = new(conditions, StringComparer.Ordinal) });
        }

        Content content = Read(path);
        foreach ((string name, string value) in conditions)
        {
            if (content.Conditions.GetValueOrDefault(name) is var found && found != value)
            {
                throw new UsageException(
                    $"'{path}' is of a comparison with another {name} ('{found}', now '{value}'); give another --out");
            }
        }

        return new ComparisonState(path, content);
    }

    public Trial? Find(string contender, double rate) =>
        _content.Trials.Find(trial => trial.Contender == contender && trial.Rate == rate);

    /// <summary>The job that was running for a trial when the comparison was interrupted; null for none.</summary>
    public string? RunningJob(string contender, double rate) =>
        _content.Running is { } running && running.Contender == contender && running.Rate == rate ? running.Job : null;

    public void Began(string contender, double rate, string job)
    {
        _content.Running = new RunningTrial(contender, rate, job);
        Save();
    }

    public void Ended(Trial trial)
    {
        _content.Running = null;
        _content.Trials.Add(trial);
        Save();
    }

    private static Content Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<Content>(File.ReadAllBytes(path), s_json)
                ?? throw new UsageException($"'{path}' is no state of a comparison");
        }
        catch (JsonException error)
        {
            throw new UsageException($"'{path}' is no state of a comparison: {error.Message}");
        }
    }

    private void Save()
    {
        // Beside it first: an interruption leaves the old state or the new one.
        string aside = _path + ".new";
        File.WriteAllBytes(aside, JsonSerializer.SerializeToUtf8Bytes(_content, s_json));
        File.Move(aside, _path, overwrite: true);
    }

    private sealed record RunningTrial(string Contender, double Rate, string Job);

    private sealed class Content
    {
        public Dictionary<string, string> Conditions { get; init; } = [];

        public RunningTrial? Running { get; set; }

        public List<Trial> Trials { get; init; } = [];
    }
}
