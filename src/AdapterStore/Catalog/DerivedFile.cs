using System.Runtime.InteropServices;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>What an import computed from the base, kept beside the adapter: one f32 tensor of output scales for each DoRA module.</summary>
internal static class DerivedFile
{
    public const string FileName = "derived.safetensors";

    private const string Suffix = ".output_scale";

    public static byte[] Write(IReadOnlyDictionary<string, float[]> outputScales)
    {
        using MemoryStream stream = new();
        SafetensorsWriter.Write(stream, [.. outputScales
            .OrderBy(pair => pair.Key, StringComparer.Ordinal)
            .Select(pair => new SafetensorsWriter.Tensor(
                pair.Key + Suffix, DType.F32, [pair.Value.Length], MemoryMarshal.AsBytes(pair.Value.AsSpan()).ToArray()))]);
        return stream.ToArray();
    }

    public static Dictionary<string, float[]> Read(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        return file.Entries.Values.ToDictionary(entry => entry.Name[..^Suffix.Length], file.ReadSingles, StringComparer.Ordinal);
    }
}
