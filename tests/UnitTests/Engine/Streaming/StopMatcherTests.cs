using InferenceServer.Engine.Streaming;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Streaming;

public sealed class StopMatcherTests
{
    [Theory]
    [InlineData("hello world", "o w", "hell", "o w")]
    [InlineData("aaab", "aab", "a", "aab")]
    [InlineData("abcabd", "abd", "abc", "abd")]
    [InlineData("no stop here", "xyz", "no stop here", null)]
    [InlineData("ends with a beginning: xy", "xyz", "ends with a beginning: xy", null)]
    public void The_text_ends_before_the_stop_string_however_it_is_cut(string text, string stop, string expected, string? found)
    {
        for (int size = 1; size <= text.Length; size++)
        {
            StopMatcher matcher = new([stop]);
            string given = "";
            for (int start = 0; start < text.Length && matcher.Found is null; start += size)
            {
                given += matcher.Append(text.Substring(start, Math.Min(size, text.Length - start)));

                // Never part of a stop string, so what is given is always a beginning of the final text.
                Assert.StartsWith(given, expected, StringComparison.Ordinal);
            }

            given += matcher.Found is null ? matcher.Flush() : "";
            Assert.Equal(expected, given);
            Assert.Equal(found, matcher.Found);
        }
    }

    [Fact]
    public void Random_texts_cut_at_random_give_what_the_whole_text_gives()
    {
        Random random = new(4);
        for (int round = 0; round < 3000; round++)
        {
            string text = Letters(random, random.Next(0, 30));
            string[] stops = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Letters(random, random.Next(1, 5)))];
            StopMatcher matcher = new(stops);
            string given = "";
            int place = 0;
            while (place < text.Length && matcher.Found is null)
            {
                int size = random.Next(1, Math.Min(6, text.Length - place) + 1);
                given += matcher.Append(text.Substring(place, size));
                place += size;
            }

            given += matcher.Found is null ? matcher.Flush() : "";
            (string expected, string? found) = LetterByLetter(text, stops);
            Assert.Equal((expected, found), (given, matcher.Found));
        }
    }

    [Fact]
    public void Only_what_may_become_a_stop_string_is_held_back()
    {
        StopMatcher matcher = new(["</s>"]);

        Assert.Equal("abc", matcher.Append("abc</"));
        Assert.Equal("</b", matcher.Append("b"));
        Assert.Equal("", matcher.Append("<"));
        Assert.Equal("<", matcher.Flush());
    }

    [Fact]
    public void A_stop_string_complete_too_early_is_text()
    {
        StopMatcher matcher = new(["ab"]);

        Assert.Equal("ab", matcher.Append("ab", canStop: false));
        Assert.Null(matcher.Found);
        Assert.Equal("", matcher.Append("a", canStop: false));
        Assert.Equal("", matcher.Append("b"));
        Assert.Equal("ab", matcher.Found);
    }

    // The first prefix that ends with a stop string decides; the longest such stop string is cut off.
    private static (string Text, string? Found) LetterByLetter(string text, string[] stops)
    {
        for (int end = 1; end <= text.Length; end++)
        {
            string? found = stops.Where(stop => text.AsSpan(0, end).EndsWith(stop, StringComparison.Ordinal)).MaxBy(stop => stop.Length);
            if (found is not null)
            {
                return (text[..(end - found.Length)], found);
            }
        }

        return (text, null);
    }

    private static string Letters(Random random, int count) => string.Concat(Enumerable.Range(0, count).Select(_ => (char)('a' + random.Next(3))));
}
