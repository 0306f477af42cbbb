namespace InferenceServer.Models.Tokenization.Bpe;

/// <summary>How the characters of a piece become ids.</summary>
/// <param name="UnknownId">The id of a character that the vocabulary does not have; without one it is dropped.</param>
/// <param name="FuseUnknown">Neighbouring unknown characters become one unknown token.</param>
/// <param name="ByteFallback">A character that the vocabulary does not have becomes one <c>&lt;0xNN&gt;</c> token per UTF-8 byte.</param>
/// <param name="IgnoreMerges">A piece that is a token as a whole is that token, whatever the merges would make of it.</param>
/// <param name="MapsBytes">The vocabulary is written in <see cref="ByteAlphabet"/> over the UTF-8 bytes of the text.</param>
internal sealed record BpeOptions(int? UnknownId, bool FuseUnknown, bool ByteFallback, bool IgnoreMerges, bool MapsBytes);
