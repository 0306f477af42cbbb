using InferenceServer.Training.Data;

namespace InferenceServer.Training;

/// <summary>One training example.</summary>
/// <param name="Tokens">Token ids.</param>
/// <param name="Labels">For each token what it should have been, usually itself; <see cref="Ignored"/> for the prompt.</param>
public sealed record SupervisedSequence(int[] Tokens, int[] Labels)
{
    /// <summary>The label of a token that is not learnt.</summary>
    public const int Ignored = -100;

    /// <summary>Prompt and answer, not cut to any length; null where nothing stands before what is learnt, as in a plain text.</summary>
    public SampleQuestion? Question { get; init; }
}
