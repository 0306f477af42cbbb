using System.Text.Json;
using System.Text.Json.Serialization;

namespace InferenceServer.Benchmarks.Gpu.Results;

/// <summary>The folder of results: results.jsonl, to which every stage of every run adds line by line, and what is made of all of them.</summary>
internal sealed class GpuResults
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static readonly JsonSerializerOptions s_indented = new(s_json) { WriteIndented = true };

    private readonly string _folder;

    public GpuResults(string folder)
    {
        _folder = folder;
        Directory.CreateDirectory(folder);
    }

    private string ResultsFile => Path.Combine(_folder, "results.jsonl");

    public void Add(GpuResult result) => File.AppendAllText(ResultsFile, JsonSerializer.Serialize(result, s_json) + "\n");

    /// <summary>All results, in the order in which they were first measured; of those measured again the last.</summary>
    public IReadOnlyList<GpuResult> ReadAll()
    {
        List<GpuResult> results = [];
        foreach (GpuResult result in File.Exists(ResultsFile) ? File.ReadLines(ResultsFile).Select(Parse).OfType<GpuResult>() : [])
        {
            if (result.What == GpuResult.Begun)
            {
                results.RemoveAll(earlier => earlier.Stage == result.Stage && earlier.Unit is (GpuResult.FailedUnit or GpuResult.SkippedUnit));
                continue;
            }

            int place = results.FindIndex(earlier => (earlier.Stage, earlier.Subject, earlier.What) == (result.Stage, result.Subject, result.What));
            if (place < 0)
            {
                results.Add(result);
            }
            else
            {
                results[place] = result;
            }
        }

        return results;
    }

    /// <summary>The number of an earlier stage or part; NaN where there is none.</summary>
    public double Find(string stage, string subject, string what) =>
        ReadAll().FirstOrDefault(result => result.Stage == stage && result.Subject == subject && result.What == what)?.Value ?? double.NaN;

    /// <summary>Writes gpu.md, gpu.json and gpu.svg from all results in the folder.</summary>
    public string WriteReport()
    {
        IReadOnlyList<GpuResult> results = ReadAll();
        IReadOnlyList<GpuBar> bars = GpuBars.Of(results);
        string report = GpuReport.Write(results, bars);
        File.WriteAllText(Path.Combine(_folder, "gpu.md"), report);
        File.WriteAllText(Path.Combine(_folder, "gpu.json"), JsonSerializer.Serialize(new { bars, results }, s_indented));
        File.WriteAllText(Path.Combine(_folder, "gpu.svg"), GpuReport.Draw(bars));
        return report;
    }

    // A run that was killed may have left half a line.
    private static GpuResult? Parse(string line)
    {
        try
        {
            return line.Length == 0 ? null : JsonSerializer.Deserialize<GpuResult>(line, s_json);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
