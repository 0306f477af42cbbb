using InferenceServer.Models.Tokenization.Patterns;

namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>Splits at the matches of a pattern.</summary>
/// <param name="pattern">What to split at.</param>
/// <param name="behavior">What becomes of the matches.</param>
/// <param name="invert">What lies between the matches counts as the match, and the other way round.</param>
internal sealed class SplitPreTokenizer(TextPattern pattern, SplitBehavior behavior, bool invert) : PreTokenizer
{
    public override void Split(IReadOnlyList<TextPiece> pieces, List<TextPiece> output)
    {
        List<TextCut> cuts = [];
        foreach (TextPiece piece in pieces)
        {
            cuts.Clear();
            pattern.Cut(piece.Span, cuts);
            Add(piece, cuts, output);
        }
    }

    private void Add(TextPiece piece, List<TextCut> cuts, List<TextPiece> output)
    {
        int start = 0;
        for (int i = 0; i < cuts.Count; i++)
        {
            int end = cuts[i].End;
            if (behavior == SplitBehavior.Removed && IsMatch(i))
            {
                start = end;
            }
            else if (i + 1 == cuts.Count || !StayTogether(i))
            {
                output.Add(piece.Part(start, end));
                start = end;
            }
        }

        // Whether cut i and the one after it are one piece.
        bool StayTogether(int i)
        {
            return behavior switch
            {
                SplitBehavior.Contiguous => IsMatch(i) == IsMatch(i + 1),
                SplitBehavior.MergedWithPrevious => IsMatch(i + 1) && !IsMatch(i),
                SplitBehavior.MergedWithNext => IsMatch(i) && !IsMatch(i + 1),
                _ => false,
            };
        }

        bool IsMatch(int i)
        {
            return cuts[i].IsMatch != invert;
        }
    }
}
