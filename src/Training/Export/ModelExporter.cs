using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Training.Export;

/// <summary>Writes a fully fine-tuned model as a Hugging Face folder that loads like its base.</summary>
public static class ModelExporter
{
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

    private static IEnumerable<SafetensorsWriter.Tensor> Tensors(Trainer trainer, TransformerModel model)
    {
        foreach (Parameter parameter in trainer.Parameters)
        {
            float[] values = new float[parameter.Count];
            trainer.Backend.Read(parameter.Value, values);
            foreach (ParameterPart part in parameter.Parts)
            {
                float[] own = values[(int)part.Offset..(int)(part.Offset + part.Count)];
                string path = part.Name[..part.Name.LastIndexOf('.')];
                bool isTransposed = part.Shape.Length == 2 && model.Shape.Find(path)?.Kind == ModuleKind.Conv1D;
                yield return isTransposed
                    ? SafetensorsWriter.FromSingles(
                        part.Name, [part.Shape[1], part.Shape[0]], Transposed(own, (int)part.Shape[0], (int)part.Shape[1]))
                    : SafetensorsWriter.FromSingles(part.Name, part.Shape, own);
            }
        }
    }

    private static float[] Transposed(float[] values, int rows, int columns)
    {
        float[] turned = new float[values.Length];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                turned[(column * rows) + row] = values[(row * columns) + column];
            }
        }

        return turned;
    }
}
