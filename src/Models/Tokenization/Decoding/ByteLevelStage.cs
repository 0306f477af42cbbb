using System.Buffers;
using System.Text;
using InferenceServer.Models.Tokenization.Bpe;

namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>
/// From tokens in <see cref="ByteAlphabet"/> to text. Only an incomplete UTF-8 sequence at the end is held back; what can be no part
/// of one becomes U+FFFD, one per maximal subpart.
/// </summary>
internal sealed class ByteLevelStage(DecodeStage next) : DecodeStage(next)
{
    private byte[] _bytes = new byte[64];
    private int _count;
    private bool _started;

    public override void Push(string text, bool startsToken)
    {
        int needed = _count + Encoding.UTF8.GetMaxByteCount(text.Length);
        if (_bytes.Length < needed)
        {
            Array.Resize(ref _bytes, needed * 2);
        }

        int before = _count;
        foreach (char character in text)
        {
            int value = ByteAlphabet.ToByte(character);
            if (value < 0)
            {
                // An added token: it stands for its own text, all of it.
                _count = before + Encoding.UTF8.GetBytes(text, _bytes.AsSpan(before));
                break;
            }

            _bytes[_count++] = (byte)value;
        }

        Emit(_count - IncompleteTail(_bytes.AsSpan(0, _count)));
    }

    public override void Finish()
    {
        Emit(_count);
        Next.Finish();
    }

    /// <summary>The length of the sequence at the end that more bytes could complete.</summary>
    public static int IncompleteTail(ReadOnlySpan<byte> bytes)
    {
        for (int length = 1; length <= 3 && length <= bytes.Length; length++)
        {
            byte first = bytes[^length];
            if ((first & 0xC0) != 0x80)
            {
                return Rune.DecodeFromUtf8(bytes[^length..], out _, out _) == OperationStatus.NeedMoreData ? length : 0;
            }
        }

        return 0;
    }

    private void Emit(int ready)
    {
        if (ready == 0)
        {
            return;
        }

        string text = Encoding.UTF8.GetString(_bytes, 0, ready);
        _bytes.AsSpan(ready, _count - ready).CopyTo(_bytes);
        _count -= ready;
        Next.Push(text, startsToken: !_started);
        _started = true;
    }
}
