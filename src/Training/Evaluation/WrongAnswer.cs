namespace InferenceServer.Training.Evaluation;

/// <summary>An answer that differs from what the sample expects.</summary>
/// <param name="Line">The sample's line, from 1; 0 when it is of no file.</param>
/// <param name="Prompt">What the model was given.</param>
/// <param name="Expected">What it should have said.</param>
/// <param name="Answer">What it said.</param>
public sealed record WrongAnswer(int Line, string Prompt, string Expected, string Answer);
