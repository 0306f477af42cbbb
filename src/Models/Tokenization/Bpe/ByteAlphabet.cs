namespace InferenceServer.Models.Tokenization.Bpe;

/// <summary>
/// The 256 printable characters that byte-level vocabularies write for the 256 bytes: printable Latin-1 stands for itself, the other
/// bytes for U+0100 and up, in order.
/// </summary>
internal static class ByteAlphabet
{
    /// <summary>The table covers the characters below this one; everything from it on is no byte.</summary>
    private const int TableSize = 0x144;

    private static readonly char[] s_charOfByte = BuildChars();
    private static readonly short[] s_byteOfChar = BuildBytes();

    /// <summary>The character that stands for <paramref name="value"/>.</summary>
    public static char ToChar(byte value)
    {
        return s_charOfByte[value];
    }

    /// <summary>The byte that <paramref name="character"/> stands for, or -1 when it stands for none.</summary>
    public static int ToByte(char character)
    {
        return character < TableSize ? s_byteOfChar[character] : -1;
    }

    private static char[] BuildChars()
    {
        char[] chars = new char[256];
        int next = 0x100;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= 0x21 and <= 0x7E) or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            chars[value] = printable ? (char)value : (char)next++;
        }

        return chars;
    }

    private static short[] BuildBytes()
    {
        short[] bytes = new short[TableSize];
        Array.Fill(bytes, (short)-1);
        for (int value = 0; value < 256; value++)
        {
            bytes[s_charOfByte[value]] = (short)value;
        }

        return bytes;
    }
}
