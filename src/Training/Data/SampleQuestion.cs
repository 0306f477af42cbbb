namespace InferenceServer.Training.Data;

/// <summary>What a sample asks and what it wants to hear, to be compared with what a model answers.</summary>
/// <param name="Prompt">The tokens that serving makes of the prompt, or of a conversation up to its last assistant's turn.</param>
/// <param name="Expected">The tokens of the completion or of that turn; a template's end marks are among them.</param>
/// <param name="Line">Of the file, from 1; 0 for a sample of no file.</param>
public sealed record SampleQuestion(ReadOnlyMemory<int> Prompt, ReadOnlyMemory<int> Expected, int Line);
