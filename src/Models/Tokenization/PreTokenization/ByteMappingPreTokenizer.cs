using System.Text;
using InferenceServer.Models.Tokenization.Bpe;

namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>
/// Writes the pieces in <see cref="ByteAlphabet"/>. Only where a pre-tokenizer follows that has to see it so: at the end of the
/// sequence the model does it itself, piece by piece.
/// </summary>
internal sealed class ByteMappingPreTokenizer : PreTokenizer
{
    public override void Split(IReadOnlyList<TextPiece> pieces, List<TextPiece> output)
    {
        foreach (TextPiece piece in pieces)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(piece.Text[piece.Start..(piece.Start + piece.Length)]);
            string text = string.Create(bytes.Length, bytes, static (chars, source) =>
            {
                for (int i = 0; i < chars.Length; i++)
                {
                    chars[i] = ByteAlphabet.ToChar(source[i]);
                }
            });
            output.Add(new TextPiece(text, 0, text.Length, piece.IsFirst));
        }
    }
}
