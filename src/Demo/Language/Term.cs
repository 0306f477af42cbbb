namespace InferenceServer.Demo.Language;

/// <summary>What a question asks for: a number from 1 to 99, or a word in English and German.</summary>
/// <param name="Number">The number; null for a word.</param>
/// <param name="English">As an English sentence writes it: digits or the word.</param>
/// <param name="German">The German word.</param>
public sealed record Term(int? Number, string English, string German)
{
    public static Term Of(int number) =>
        new(number, number.ToString(System.Globalization.CultureInfo.InvariantCulture), NumberWords.German(number));

    public static Term Of((string English, string German) word) => new(null, word.English, word.German);
}
