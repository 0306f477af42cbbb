namespace InferenceServer.Training.Runs;

/// <summary>How well the held-out set is predicted.</summary>
/// <param name="Loss">Mean over all labelled tokens of -ln of their probability.</param>
/// <param name="LabelCount">Labelled tokens.</param>
public readonly record struct EvaluationResult(double Loss, long LabelCount)
{
    /// <summary>Choices that the model wavers between at a token, in the mean: exp of the loss.</summary>
    public double Perplexity => Math.Exp(Loss);

    /// <summary>Evaluates batches; nothing of the trainer changes.</summary>
    public static EvaluationResult Of(Trainer trainer, IEnumerable<SupervisedBatch> batches, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentNullException.ThrowIfNull(batches);
        double sum = 0;
        long labels = 0;
        foreach (SupervisedBatch batch in batches)
        {
            cancellation.ThrowIfCancellationRequested();
            sum += trainer.EvaluateTokens(batch) * batch.LabelCount;
            labels += batch.LabelCount;
        }

        return new EvaluationResult(sum / labels, labels);
    }
}
