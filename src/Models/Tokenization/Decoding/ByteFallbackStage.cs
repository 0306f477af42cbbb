using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>
/// From byte tokens (<c>&lt;0xE4&gt;</c>) to text. A run of them that is valid UTF-8 becomes text, any other one U+FFFD per byte.
/// A stream hands every complete character on at once; where its run turns out invalid later, the characters before stay as they were.
/// </summary>
/// <param name="streaming">Whether to hand characters on before the run has ended.</param>
/// <param name="next">Where the result goes.</param>
internal sealed class ByteFallbackStage(bool streaming, DecodeStage next) : DecodeStage(next)
{
    private const string Replacement = "\uFFFD";

    private readonly List<byte> _run = [];
    private bool _runIsInvalid;

    public override void Push(string text, bool startsToken)
    {
        if (TryReadByte(text, out byte value))
        {
            _run.Add(value);
            if (streaming)
            {
                HandOnEarly();
            }

            return;
        }

        EndRun();
        Next.Push(text, startsToken: true);
    }

    public override void Finish()
    {
        EndRun();
        Next.Finish();
    }

    private static bool TryReadByte(string token, out byte value)
    {
        value = 0;
        return token.Length == 6
            && token.StartsWith("<0x", StringComparison.Ordinal)
            && token[5] == '>'
            && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private void HandOnEarly()
    {
        ReadOnlySpan<byte> run = CollectionsMarshal.AsSpan(_run);
        OperationStatus status = _runIsInvalid ? OperationStatus.InvalidData : Rune.DecodeFromUtf8(run, out _, out _);
        if (status == OperationStatus.NeedMoreData)
        {
            return;
        }

        if (status == OperationStatus.Done)
        {
            Next.Push(Encoding.UTF8.GetString(run), startsToken: true);
        }
        else
        {
            _runIsInvalid = true;
            PushReplacements();
        }

        _run.Clear();
    }

    private void EndRun()
    {
        if (_run.Count > 0)
        {
            byte[] run = [.. _run];
            if (!_runIsInvalid && Utf8.IsValid(run))
            {
                Next.Push(Encoding.UTF8.GetString(run), startsToken: true);
            }
            else
            {
                PushReplacements();
            }

            _run.Clear();
        }

        _runIsInvalid = false;
    }

    private void PushReplacements()
    {
        for (int i = 0; i < _run.Count; i++)
        {
            Next.Push(Replacement, startsToken: true);
        }
    }
}
