namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>Cuts pieces of text into smaller ones, which no merge may then cross.</summary>
internal abstract class PreTokenizer
{
    /// <summary>Appends the parts of each piece, in order.</summary>
    public abstract void Split(IReadOnlyList<TextPiece> pieces, List<TextPiece> output);
}
