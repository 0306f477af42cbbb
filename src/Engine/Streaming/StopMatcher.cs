using System.Text;

namespace InferenceServer.Engine.Streaming;

/// <summary>
/// Finds stop strings in text that comes in pieces. What it gives out never holds part of a stop string, and it holds back only what could
/// still become one. The result does not depend on how the text is cut: the stop string that is complete first ends the text, of
/// several complete at the same character the longest.
/// </summary>
public sealed class StopMatcher
{
    private readonly IReadOnlyList<string> _stops;
    private readonly StringBuilder _held = new();

    /// <param name="stops">Not empty ones.</param>
    public StopMatcher(IReadOnlyList<string> stops) => _stops = stops;

    /// <summary>The stop string found; null until then.</summary>
    public string? Found { get; private set; }

    /// <summary>Takes the next piece and returns the text that is certain.</summary>
    /// <param name="text">The piece.</param>
    /// <param name="canStop">False: a stop string that is complete within this piece is ordinary text.</param>
    public string Append(string text, bool canStop = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (_stops.Count == 0 || text.Length == 0)
        {
            return text;
        }

        _held.Append(text);
        string all = _held.ToString();
        if (canStop && FindFirst(all) is (int start, string stop))
        {
            Found = stop;
            _held.Clear();
            return all[..start];
        }

        int certain = all.Length - PossibleStart(all);
        _held.Clear();
        _held.Append(all, certain, all.Length - certain);
        return all[..certain];
    }

    /// <summary>Returns what was held back: the text has ended, so it will not become a stop string.</summary>
    public string Flush()
    {
        string rest = _held.ToString();
        _held.Clear();
        return rest;
    }

    private (int Start, string Stop)? FindFirst(string text)
    {
        (int Start, string Stop)? first = null;
        int firstEnd = int.MaxValue;
        foreach (string stop in _stops)
        {
            int start = text.IndexOf(stop, StringComparison.Ordinal);
            int end = start + stop.Length;
            if (start >= 0 && (end < firstEnd || (end == firstEnd && start < first!.Value.Start)))
            {
                first = (start, stop);
                firstEnd = end;
            }
        }

        return first;
    }

    // Length of the longest end of the text that begins, and is not all of, a stop string.
    private int PossibleStart(string text)
    {
        int longest = 0;
        foreach (string stop in _stops)
        {
            for (int length = Math.Min(stop.Length - 1, text.Length); length > longest; length--)
            {
                if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                {
                    longest = length;
                }
            }
        }

        return longest;
    }
}
