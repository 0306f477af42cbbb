using System.Text.Json;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.Golden;

/// <summary>The <c>expected.safetensors</c> and <c>case.json</c> of one golden case.</summary>
public sealed class ExpectedTensors : IDisposable
{
    private readonly SafetensorsFile _file;
    private readonly JsonDocument _case;

    public ExpectedTensors(string folder)
    {
        _file = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        _case = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json")));
    }

    /// <summary>case.json.</summary>
    public JsonElement Case => _case.RootElement;

    /// <summary>Number of <c>seqN</c> or <c>rowN</c> in the file.</summary>
    public int Count(string prefix) =>
        Enumerable.Range(0, int.MaxValue).TakeWhile(i => _file.Entries.ContainsKey($"{prefix}{i}.input_ids")).Count();

    public bool Has(string name) => _file.Entries.ContainsKey(name);

    public float[] Floats(string name) => _file.ReadSingles(_file.Find(name));

    public int[] Ints(string name) => [.. _file.ReadInt64s(_file.Find(name)).Select(value => (int)value)];

    public void Dispose()
    {
        _file.Dispose();
        _case.Dispose();
    }
}
