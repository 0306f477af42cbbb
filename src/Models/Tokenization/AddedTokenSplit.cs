namespace InferenceServer.Models.Tokenization;

/// <summary>A part of a text: an added token, or text for the model.</summary>
/// <param name="Start">First character.</param>
/// <param name="End">One after the last character.</param>
/// <param name="TokenId">The added token, or null for text.</param>
internal readonly record struct AddedTokenSplit(int Start, int End, int? TokenId);
