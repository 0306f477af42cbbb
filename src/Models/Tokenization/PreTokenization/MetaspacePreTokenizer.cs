namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>Writes spaces as a visible character, puts one in front, and cuts before each.</summary>
/// <param name="replacement">The character, mostly U+2581.</param>
/// <param name="prepends">Whether one is put in front of pieces that have none.</param>
/// <param name="firstOnly">Of these, only in front of the one at the beginning of the text.</param>
/// <param name="splits">Whether to cut at all.</param>
internal sealed class MetaspacePreTokenizer(char replacement, bool prepends, bool firstOnly, bool splits) : PreTokenizer
{
    public override void Split(IReadOnlyList<TextPiece> pieces, List<TextPiece> output)
    {
        foreach (TextPiece piece in pieces)
        {
            string text = piece.Text.Substring(piece.Start, piece.Length).Replace(' ', replacement);
            if (prepends && text[0] != replacement && (piece.IsFirst || !firstOnly))
            {
                text = replacement + text;
            }

            TextPiece whole = new(text, 0, text.Length, piece.IsFirst);
            if (splits)
            {
                AddParts(whole, output);
            }
            else
            {
                output.Add(whole);
            }
        }
    }

    private void AddParts(TextPiece whole, List<TextPiece> output)
    {
        for (int start = 0; start < whole.Length;)
        {
            int next = start + 1 < whole.Length ? whole.Text.IndexOf(replacement, start + 1) : -1;
            int end = next < 0 ? whole.Length : next;
            output.Add(whole.Part(start, end));
            start = end;
        }
    }
}
