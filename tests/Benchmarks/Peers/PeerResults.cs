using System.Text.Json;
using System.Text.Json.Serialization;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>The folder of results: runs.jsonl and slices.jsonl, to which every run adds, and what is made of all of them.</summary>
internal sealed class PeerResults
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private readonly string _folder;

    public PeerResults(string folder)
    {
        _folder = folder;
        Directory.CreateDirectory(folder);
    }

    private string RunsFile => Path.Combine(_folder, "runs.jsonl");

    private string SlicesFile => Path.Combine(_folder, "slices.jsonl");

    public void Add(PeerRun run) => File.AppendAllText(RunsFile, JsonSerializer.Serialize(run, s_json) + "\n");

    public void Add(PeerSlice slice) => File.AppendAllText(SlicesFile, JsonSerializer.Serialize(slice, s_json) + "\n");

    /// <summary>Writes peers.md and peers.svg from all runs in the folder.</summary>
    public string WriteReport()
    {
        // A run that learned more of itself is there again, later.
        PeerRun[] runs = [.. Read<PeerRun>(RunsFile).GroupBy(run => run.Id).Select(run => run.Last())];
        PeerRow[] rows = PeerRow.Group(Read<PeerSlice>(SlicesFile));
        string report = PeersReport.Write(runs, rows);
        File.WriteAllText(Path.Combine(_folder, "peers.md"), report);
        File.WriteAllText(Path.Combine(_folder, "peers.svg"), PeersChart.Draw(rows));
        return report;
    }

    private static T[] Read<T>(string file) => File.Exists(file)
        ? [.. File.ReadLines(file).Where(line => line.Length > 0).Select(line => JsonSerializer.Deserialize<T>(line, s_json)!)]
        : [];
}
