namespace InferenceServer.Training.Jobs;

/// <summary>One reader's place in a <see cref="JobEventLog"/>. Line N holds event N, so that what is left out is only counted.</summary>
internal sealed class JobEventReader(JobEventLog log, FileStream file, long after) : IDisposable
{
    private const int ChunkBytes = 1 << 16;

    private byte[] _buffer = new byte[ChunkBytes];
    private int _count;
    private long _position;
    private long _line;

    /// <summary>The events that have been written since the last call.</summary>
    public IEnumerable<JobEvent> Read()
    {
        long end = log.Length;
        while (_position < end)
        {
            if (_count == _buffer.Length)
            {
                Array.Resize(ref _buffer, 2 * _buffer.Length);
            }

            int read = file.Read(_buffer, _count, (int)Math.Min(_buffer.Length - _count, end - _position));
            if (read == 0)
            {
                throw new EndOfStreamException($"'{file.Name}' ends at {_position} bytes, {end} were written");
            }

            _position += read;
            _count += read;
            int start = 0;
            while (_buffer.AsSpan(start, _count - start).IndexOf((byte)'\n') is var length and >= 0)
            {
                int first = start;
                start += length + 1;
                if (++_line > after)
                {
                    yield return JobEventLog.Parse(_buffer.AsSpan(first, length));
                }
            }

            _buffer.AsSpan(start, _count - start).CopyTo(_buffer);
            _count -= start;
        }
    }

    public void Dispose() => file.Dispose();
}
