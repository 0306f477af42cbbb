namespace InferenceServer.Training.Optimisation;

/// <summary>Parameters with a learning rate and decay of their own.</summary>
/// <param name="LearningRate">Largest rate of the schedule.</param>
/// <param name="WeightDecay">Decoupled decay.</param>
/// <param name="Parameters">The parameters; may be none.</param>
public sealed record ParameterGroup(double LearningRate, double WeightDecay, IReadOnlyList<Parameter> Parameters)
{
    /// <summary>The groups of a run: one, or LoRA+'s four (A and the rest, embedding factors, B, vectors without decay).</summary>
    public static IReadOnlyList<ParameterGroup> Create(TrainingOptions options, IReadOnlyList<Parameter> parameters)
    {
        if (options.Optimizer != OptimizerKind.LoraPlus)
        {
            return [new ParameterGroup(options.LearningRate, options.WeightDecay, parameters)];
        }

        double fast = options.LearningRate * options.LoraPlusRatio;
        return
        [
            Of(ParameterKind.Plain, options.LearningRate, options.WeightDecay),
            Of(ParameterKind.Embedding, options.LoraPlusEmbeddingRate, options.WeightDecay),
            Of(ParameterKind.Up, fast, options.WeightDecay),
            Of(ParameterKind.Vector, fast, 0),
        ];

        ParameterGroup Of(ParameterKind kind, double rate, double decay) =>
            new(rate, decay, [.. parameters.Where(parameter => parameter.Kind == kind)]);
    }
}
