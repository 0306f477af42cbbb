namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>Puts a space before every piece that does not begin with one (<c>add_prefix_space</c>).</summary>
internal sealed class PrefixSpacePreTokenizer : PreTokenizer
{
    public override void Split(IReadOnlyList<TextPiece> pieces, List<TextPiece> output)
    {
        foreach (TextPiece piece in pieces)
        {
            output.Add(piece.StartsWith(' ') ? piece : piece.Prepend(' '));
        }
    }
}
