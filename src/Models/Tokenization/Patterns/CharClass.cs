namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>The character classes that the pre-tokenizer patterns speak of.</summary>
[Flags]
internal enum CharClass : byte
{
    None = 0,

    /// <summary><c>\p{L}</c></summary>
    Letter = 1,

    /// <summary><c>\p{N}</c></summary>
    Number = 2,

    /// <summary><c>\s</c></summary>
    Space = 4,

    /// <summary><c>\p{M}</c></summary>
    Mark = 8,

    /// <summary><c>[\p{P}\p{S}]</c></summary>
    PunctuationOrSymbol = 16,

    /// <summary><c>[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]</c></summary>
    UpperSide = 32,

    /// <summary><c>[\p{Ll}\p{Lm}\p{Lo}\p{M}]</c></summary>
    LowerSide = 64,

    /// <summary><c>[\r\n]</c></summary>
    LineBreak = 128,
}
