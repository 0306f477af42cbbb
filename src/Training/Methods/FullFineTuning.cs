using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>
/// Full fine-tuning: every weight of the base is a parameter. Projections that are one matrix in the forward are one parameter with
/// several parts; a tied embedding and output head are one parameter whose gradient is the sum of both uses.
/// </summary>
internal sealed class FullFineTuning
{
    private readonly IComputeBackend _backend;
    private readonly TransformerModel _model;
    private readonly TrainedWeights _trained;
    private readonly List<Parameter> _parameters = [];

    private FullFineTuning(IComputeBackend backend, TransformerModel model, TrainedWeights trained)
    {
        _backend = backend;
        _model = model;
        _trained = trained;
    }

    /// <summary>Makes the parameters, in the order of the forward.</summary>
    /// <param name="backend">Where they live.</param>
    /// <param name="model">The base; its own weights stay as they are.</param>
    /// <param name="trained">Told which weights are parameters.</param>
    /// <exception cref="ArgumentException">The base is quantised: what was rounded away cannot be trained.</exception>
    public static List<Parameter> Create(IComputeBackend backend, TransformerModel model, TrainedWeights trained)
    {
        if (model.WeightFormat.IsQuantized())
        {
            throw new ArgumentException($"all weights of a base kept in {model.WeightFormat} cannot be trained: load it in f32 or bf16");
        }

        FullFineTuning builder = new(backend, model, trained);
        builder.AddAll();
        return builder._parameters;
    }

    private void AddAll()
    {
        ModelParts parts = _model.Parts;
        ModuleShape embedding = _model.Shape.Modules.Single(module => module.Kind == ModuleKind.Embedding);
        AddMatrix(
            parts.Embedding,
            [new ParameterPart(embedding.Path + ".weight", 0, [embedding.InFeatures, embedding.OutFeatures])],
            Rows(embedding));
        if (parts.Positions is { } positions)
        {
            ModuleNames names = ModuleNames.Of(_model.Config);
            AddMatrix(
                positions,
                [new ParameterPart(names.Root + names.Positions + ".weight", 0, [positions.Rows, positions.Columns])],
                Unpacked(positions));
        }

        foreach (DecoderLayer layer in parts.Layers)
        {
            Add(layer);
        }

        Add(parts.FinalNorm);
        if (parts.Head.Original != parts.Embedding)
        {
            Add(parts.Head);
        }
    }

    private void Add(DecoderLayer layer)
    {
        Add(layer.InputNorm);
        Add(layer.Qkv);
        string attention = layer.Output.Slices[0].Module.Path;
        attention = attention[..attention.LastIndexOf('.')];
        Add(layer.QueryNorm, attention + ".q_norm.weight");
        Add(layer.KeyNorm, attention + ".k_norm.weight");
        Add(layer.Output);
        Add(layer.PostAttentionNorm);
        Add(layer.FeedForwardNorm);
        Add(layer.Up);
        Add(layer.Down);
        Add(layer.PostFeedForwardNorm);
    }

    private void Add(Linear linear)
    {
        List<ParameterPart> weights = [];
        List<ParameterPart> biases = [];
        float[] values = new float[(long)linear.OutFeatures * linear.InFeatures];
        float[] bias = new float[linear.OutFeatures];
        foreach (LinearSlice slice in linear.Slices)
        {
            ModuleShape module = slice.Module;
            long offset = (long)slice.FirstRow * linear.InFeatures;
            weights.Add(new ParameterPart(module.Path + ".weight", offset, [module.OutFeatures, module.InFeatures]));
            Rows(module).CopyTo(values, offset);
            if (_model.Shape.ReadBias(module) is { } own)
            {
                biases.Add(new ParameterPart(module.Path + ".bias", slice.FirstRow, [module.OutFeatures]));
                own.CopyTo(bias, slice.FirstRow);
            }
        }

        AddMatrix(linear.Original, weights, values);
        if (linear.Bias is { } buffer)
        {
            AddVector(buffer, biases, bias);
        }
    }

    private void Add(Norm? norm)
    {
        if (norm is null)
        {
            return;
        }

        ModuleShape module = norm.Module;
        AddVector(norm.Weight, [new ParameterPart(module.Path + ".weight", 0, [module.OutFeatures])], Rows(module));
        if (norm.Bias is { } bias)
        {
            AddVector(bias, [new ParameterPart(module.Path + ".bias", 0, [module.OutFeatures])], _model.Shape.ReadBias(module)!);
        }
    }

    private void Add(HeadNorm? norm, string name)
    {
        if (norm is not null)
        {
            float[] values = new float[norm.HeadSize];
            _backend.Read(new TensorView(norm.Weight, 1, norm.HeadSize), values);
            AddVector(norm.Weight, [new ParameterPart(name, 0, [norm.HeadSize])], values);
        }
    }

    private void AddMatrix(WeightMatrix matrix, IReadOnlyList<ParameterPart> parts, float[] values)
    {
        Parameter parameter = new(_backend, parts, values, matrix.Columns, ParameterKind.Plain, isTrained: true);
        _parameters.Add(parameter);
        _trained.Add(matrix, parameter);
    }

    private void AddVector(DeviceBuffer vector, IReadOnlyList<ParameterPart> parts, float[] values)
    {
        Parameter parameter = new(_backend, parts, values, values.Length, ParameterKind.Vector, isTrained: true);
        _parameters.Add(parameter);
        _trained.Add(vector, parameter);
    }

    private float[] Rows(ModuleShape module)
    {
        long count = module.Kind == ModuleKind.Norm ? module.OutFeatures : (long)module.OutFeatures * module.InFeatures;
        float[] values = new float[count];
        _model.Shape.ReadRows(module, 0, values);
        return values;
    }

    private float[] Unpacked(WeightMatrix matrix)
    {
        float[] values = new float[(long)matrix.Rows * matrix.Columns];
        _backend.ReadMatrix(matrix, 0, values);
        return values;
    }
}
