using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.UnitTests.Training;

/// <summary>Writes what a quantised base multiplies by as an f32 checkpoint, so that the two can be compared from the outside.</summary>
internal static class UnpackedBase
{
    public static void Write(TransformerModel quantized, string source, string target)
    {
        Directory.CreateDirectory(target);
        File.Copy(Path.Combine(source, "config.json"), Path.Combine(target, "config.json"));
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(source, "model.safetensors"));
        using FileStream stream = File.Create(Path.Combine(target, "model.safetensors"));
        SafetensorsWriter.Write(stream, [.. file.Entries.Values.Select(entry =>
            SafetensorsWriter.FromSingles(entry.Name, entry.Shape, Values(quantized, entry, file.ReadSingles(entry))))]);
    }

    private static float[] Values(TransformerModel quantized, SafetensorsEntry entry, float[] stored)
    {
        ModuleShape? module = quantized.Shape.Find(entry.Name.Replace(".weight", "", StringComparison.Ordinal));
        if (module?.Kind == ModuleKind.Embedding || module?.Path == quantized.Shape.OutputHeadPath)
        {
            return [.. stored.Select(value => BFloat16.ToSingle(BFloat16.FromSingle(value)))];
        }

        if (module?.Kind == ModuleKind.Linear)
        {
            quantized.Shape.ReadUsedRows(module, 0, stored);
        }

        return stored;
    }
}
