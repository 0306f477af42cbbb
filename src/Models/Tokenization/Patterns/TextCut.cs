namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>A part of a text that a pattern was run over; it begins where the part before ends.</summary>
/// <param name="End">One after its last character.</param>
/// <param name="IsMatch">Whether the pattern matched it, or it lies between matches.</param>
internal readonly record struct TextCut(int End, bool IsMatch);
