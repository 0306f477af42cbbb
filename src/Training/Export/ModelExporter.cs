using System.Runtime.InteropServices;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Training.Export;

/// <summary>Writes a fully fine-tuned model as a Hugging Face folder that loads like its base. One parameter is copied at a time.</summary>
public static class ModelExporter
{
    private const int PieceElements = 1 << 20;

    /// <summary>Writes model.safetensors (f32) and copies the base's config, generation defaults, tokenizer and chat template.</summary>
    /// <param name="trainer">A trainer of every weight.</param>
    /// <param name="model">Its base.</param>
    /// <param name="baseFolder">The base's folder.</param>
    /// <param name="folder">Made when it is missing; another than the base's.</param>
    /// <exception cref="InvalidOperationException">The trainer trains an adapter.</exception>
    public static void Write(Trainer trainer, TransformerModel model, string baseFolder, string folder)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentNullException.ThrowIfNull(model);
        if (trainer.Recipe is not null)
        {
            throw new InvalidOperationException("an adapter is exported by PeftExporter");
        }

        ModelFolder.CopyCompanions(baseFolder, folder, isSinglePrecision: true, isUntied: false);
        using FileStream stream = File.Create(Path.Combine(folder, "model.safetensors"));
        SafetensorsWriter.Write(stream, [.. Tensors(trainer, model)], new Dictionary<string, string> { ["format"] = "pt" });
    }

    private static IEnumerable<SafetensorsWriter.Source> Tensors(Trainer trainer, TransformerModel model)
    {
        foreach (Parameter parameter in trainer.Parameters)
        {
            // Parts follow each other in the file: the first reads all of the parameter, the last lets go of it.
            float[]? values = null;
            foreach (ParameterPart part in parameter.Parts)
            {
                string path = part.Name[..part.Name.LastIndexOf('.')];
                bool isTransposed = part.Shape.Length == 2 && model.Shape.Find(path)?.Kind == ModuleKind.Conv1D;
                long[] shape = isTransposed ? [part.Shape[1], part.Shape[0]] : part.Shape;
                yield return new SafetensorsWriter.Source(part.Name, DType.F32, shape, target =>
                {
                    values ??= Read(trainer, parameter);
                    Span<float> own = values.AsSpan((int)part.Offset, (int)part.Count);
                    if (isTransposed)
                    {
                        WriteTransposed(target, own, (int)part.Shape[0], (int)part.Shape[1]);
                    }
                    else
                    {
                        Write(target, own);
                    }

                    if (ReferenceEquals(part, parameter.Parts[^1]))
                    {
                        values = null;
                    }
                });
            }
        }
    }

    private static float[] Read(Trainer trainer, Parameter parameter)
    {
        float[] values = new float[parameter.Count];
        trainer.Backend.Read(parameter.Value, values);
        return values;
    }

    // In pieces: the bytes of a large matrix are more than one span can have.
    private static void Write(Stream target, ReadOnlySpan<float> values)
    {
        for (; values.Length > 0; values = values[Math.Min(values.Length, PieceElements)..])
        {
            target.Write(MemoryMarshal.AsBytes(values[..Math.Min(values.Length, PieceElements)]));
        }
    }

    private static void WriteTransposed(Stream target, ReadOnlySpan<float> values, int rows, int columns)
    {
        float[] turned = new float[rows];
        for (int column = 0; column < columns; column++)
        {
            for (int row = 0; row < rows; row++)
            {
                turned[row] = values[(row * columns) + column];
            }

            target.Write(MemoryMarshal.AsBytes(turned.AsSpan()));
        }
    }
}
