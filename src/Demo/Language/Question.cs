namespace InferenceServer.Demo.Language;

/// <summary>A question with its one right answer.</summary>
/// <param name="Kind">Sort of question, for the draw and for reports.</param>
/// <param name="Text">As it is asked.</param>
/// <param name="Answer">What is right.</param>
/// <param name="IsHeldOut">Whether it may only be asked in tests: no training text of the base or of a tenant contains it.</param>
public sealed record Question(QuestionKind Kind, string Text, Term Answer, bool IsHeldOut);
