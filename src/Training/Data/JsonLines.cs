namespace InferenceServer.Training.Data;

/// <summary>The lines of a JSONL stream, one in memory at a time; lines of nothing but space are left out.</summary>
internal static class JsonLines
{
    /// <summary>Reads one line after the other.</summary>
    /// <param name="stream">From its start; a UTF-8 byte order mark is skipped.</param>
    /// <param name="file">Its name, for errors.</param>
    /// <param name="maxLineBytes">Most bytes of a line, without its end.</param>
    /// <returns>Number of the line from 1, and its bytes, which hold until the next is asked for.</returns>
    /// <exception cref="DatasetException">A line is too long.</exception>
    public static IEnumerable<(int Line, ReadOnlyMemory<byte> Bytes)> Read(Stream stream, string file, int maxLineBytes)
    {
        // One more for the line's end, another so that a line that is too long is seen to be so.
        byte[] buffer = new byte[Math.Min(1 << 16, maxLineBytes + 2)];
        int start = 0;
        int end = 0;
        int line = 1;
        while (true)
        {
            int length = buffer.AsSpan(start, end - start).IndexOf((byte)'\n');
            bool isLast = false;
            if (length < 0)
            {
                length = end - start;
                isLast = !Fill(stream, ref buffer, ref start, ref end, maxLineBytes + 2);
                if (!isLast && length <= maxLineBytes + 1)
                {
                    continue;
                }
            }

            ReadOnlyMemory<byte> bytes = Trim(buffer.AsMemory(start, length), line);
            if (length > maxLineBytes + 1 || bytes.Length > maxLineBytes)
            {
                throw new DatasetException(file, line, null, $"longer than MaxLineBytes {maxLineBytes}");
            }

            if (!bytes.IsEmpty)
            {
                yield return (line, bytes);
            }

            if (isLast)
            {
                yield break;
            }

            start += length + 1;
            line++;
        }
    }

    /// <summary>Reads on, with the begun line moved to the buffer's start; false at the stream's end.</summary>
    private static bool Fill(Stream stream, ref byte[] buffer, ref int start, ref int end, int maxBytes)
    {
        buffer.AsSpan(start, end - start).CopyTo(buffer);
        end -= start;
        start = 0;
        if (end == buffer.Length)
        {
            if (buffer.Length == maxBytes)
            {
                // Full of one line: more would not make it shorter.
                return true;
            }

            Array.Resize(ref buffer, (int)Math.Min(2L * buffer.Length, maxBytes));
        }

        int read = stream.Read(buffer, end, buffer.Length - end);
        end += read;
        return read > 0;
    }

    private static ReadOnlyMemory<byte> Trim(ReadOnlyMemory<byte> bytes, int line)
    {
        ReadOnlySpan<byte> mark = [0xEF, 0xBB, 0xBF];
        if (line == 1 && bytes.Span.StartsWith(mark))
        {
            bytes = bytes[mark.Length..];
        }

        return bytes.Trim(" \t\r"u8);
    }
}
