namespace InferenceServer.TestKit.Placeholder;

/// <summary>
/// The visible characters that stand for the 256 bytes in byte-level tokenizers: printable Latin-1 for itself, the other bytes as the
/// characters from U+0100 on (Radford et al. 2019, GPT-2's encoder).
/// </summary>
internal static class ByteLevelAlphabet
{
    public static char[] Characters { get; } = Build();

    private static char[] Build()
    {
        char[] characters = new char[256];
        char next = '\u0100';
        for (int value = 0; value < characters.Length; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xa1 and <= 0xac) or >= 0xae;
            characters[value] = printable ? (char)value : next++;
        }

        return characters;
    }
}
