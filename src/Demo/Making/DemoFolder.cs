using System.Text.Json;

namespace InferenceServer.Demo.Making;

/// <summary>
/// The demo on disk: <c>demo-base/</c> in Hugging Face's layout, <c>adapters/NAME/</c> in PEFT's, and <c>made.json</c>, which says what each
/// training took.
/// </summary>
public sealed class DemoFolder(string path)
{
    /// <summary>The base's name: of its folder, and among the trainings.</summary>
    public const string BaseName = "demo-base";

    private static readonly JsonSerializerOptions s_options = new() { WriteIndented = true };

    public string Path { get; } = System.IO.Path.GetFullPath(path);

    public string Base => System.IO.Path.Combine(Path, BaseName);

    private string RecordFile => System.IO.Path.Combine(Path, "made.json");

    public string Adapter(string name) => System.IO.Path.Combine(Path, "adapters", name);

    /// <summary>What the training of the base or of a tenant took; null when it was not recorded.</summary>
    public TrainingRecord? RecordOf(string name) => Read().GetValueOrDefault(name);

    public void Record(string name, long trainedParameters, double seconds)
    {
        SortedDictionary<string, TrainingRecord> records = Read();
        records[name] = new TrainingRecord(trainedParameters, Math.Round(seconds, 1));
        File.WriteAllText(RecordFile, JsonSerializer.Serialize(records, s_options) + "\n");
    }

    private SortedDictionary<string, TrainingRecord> Read() => File.Exists(RecordFile)
        ? new(JsonSerializer.Deserialize<Dictionary<string, TrainingRecord>>(File.ReadAllText(RecordFile))!, StringComparer.Ordinal)
        : new(StringComparer.Ordinal);
}
