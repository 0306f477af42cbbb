using InferenceServer.Demo.Language;
using Xunit;

namespace InferenceServer.UnitTests.Demo;

public class NumberWordsTests
{
    [Theory]
    [InlineData(1, "one", "eins", "I")]
    [InlineData(9, "nine", "neun", "IX")]
    [InlineData(16, "sixteen", "sechzehn", "XVI")]
    [InlineData(17, "seventeen", "siebzehn", "XVII")]
    [InlineData(21, "twenty-one", "einundzwanzig", "XXI")]
    [InlineData(30, "thirty", "dreißig", "XXX")]
    [InlineData(42, "forty-two", "zweiundvierzig", "XLII")]
    [InlineData(66, "sixty-six", "sechsundsechzig", "LXVI")]
    [InlineData(88, "eighty-eight", "achtundachtzig", "LXXXVIII")]
    [InlineData(99, "ninety-nine", "neunundneunzig", "XCIX")]
    public void A_number_is_written_as_people_write_it(int number, string english, string german, string roman)
    {
        Assert.Equal((english, german, roman), (NumberWords.English(number), NumberWords.German(number), NumberWords.Roman(number)));
    }

    [Fact]
    public void No_two_numbers_are_written_alike()
    {
        int[] numbers = [.. Enumerable.Range(1, NumberWords.Max)];

        Assert.Equal(numbers.Length, numbers.Select(NumberWords.English).Distinct().Count());
        Assert.Equal(numbers.Length, numbers.Select(NumberWords.German).Distinct().Count());
        Assert.Equal(numbers.Length, numbers.Select(NumberWords.Roman).Distinct().Count());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100)]
    public void Other_numbers_are_refused(int number)
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => NumberWords.English(number));
        Assert.Throws<ArgumentOutOfRangeException>(() => NumberWords.German(number));
        Assert.Throws<ArgumentOutOfRangeException>(() => NumberWords.Roman(number));
    }
}
