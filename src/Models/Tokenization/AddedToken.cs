namespace InferenceServer.Models.Tokenization;

/// <summary>A token that is matched in the text as it stands, before the model sees it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
/// <param name="IsSpecial">Left out by decoding when special tokens are skipped.</param>
/// <param name="IsNormalized">Matched in the normalized text instead of the raw one.</param>
/// <param name="IsSingleWord">Matches only between characters that are no part of a word.</param>
/// <param name="StripsLeft">Takes the white space before it along.</param>
/// <param name="StripsRight">Takes the white space after it along.</param>
internal sealed record AddedToken(
    int Id, string Content, bool IsSpecial, bool IsNormalized, bool IsSingleWord, bool StripsLeft, bool StripsRight);
