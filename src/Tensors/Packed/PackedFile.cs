namespace InferenceServer.Tensors.Packed;

/// <summary>
/// Weight matrices in the form that a backend packed them into. Opening checks the header, reading checks every byte: what comes out is
/// what went in, or a <see cref="PackedFileException"/>.
/// </summary>
public sealed class PackedFile : IDisposable
{
    // The rest is the ends of the file, which are no whole pages of 2 MB.
    private const double LeastHugeShare = 0.9;

    private readonly FileStream _stream;
    private readonly Dictionary<string, PackedSection> _sections;

    private MappedFile? _mapped;

    private PackedFile(FileStream stream, Dictionary<string, PackedSection> sections)
    {
        _stream = stream;
        _sections = sections;
    }

    public string FilePath => _stream.Name;

    /// <summary>Bytes of the file.</summary>
    public long ByteCount => _stream.Length;

    /// <summary>Whether <see cref="TryMap"/> has mapped it.</summary>
    public bool IsMapped => _mapped is not null;

    /// <summary>Opens a file.</summary>
    /// <param name="path">Where it is.</param>
    /// <param name="key">What it must be about: everything that the packed bytes depend on.</param>
    /// <exception cref="PackedFileException">It must not be used.</exception>
    /// <exception cref="IOException">It is not there or cannot be read.</exception>
    public static PackedFile Open(string path, string key)
    {
        FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
        try
        {
            string name = Path.GetFileName(path);
            Dictionary<string, PackedSection> sections = new(StringComparer.Ordinal);
            foreach (PackedSectionHeader header in PackedHeader.Read(stream, name, key))
            {
                sections.Add(header.Label, new PackedSection(name, stream.SafeFileHandle, header));
            }

            return new PackedFile(stream, sections);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>The bytes of a matrix where they are mapped; null when they are not.</summary>
    public MappedBytes? TakeMapped(PackedSection section)
    {
        ArgumentNullException.ThrowIfNull(section);
        return _mapped is null ? null : section.Take(_mapped);
    }

    /// <summary>A matrix by its name; null when there is none like that.</summary>
    public PackedSection? Find(int rows, int columns, WeightFormat format, string label) =>
        _sections.TryGetValue(label, out PackedSection? section) && section.Rows == rows && section.Columns == columns && section.Format == format
            ? section
            : null;

    /// <summary>
    /// Maps the whole file and checks all of it, so that backends can use the weights where they lie in the page cache: no copy is made, and
    /// a second process shares them. Linux only.
    /// </summary>
    /// <param name="threads">Threads that check.</param>
    /// <param name="hugePages">Whether that is only wanted if the page cache has nearly all of the file in pages of 2 MB.</param>
    /// <returns>Whether it is mapped now; if not, the sections can still be read.</returns>
    /// <exception cref="PackedFileException">The bytes are not those that were written.</exception>
    public bool TryMap(int threads, bool hugePages)
    {
        if (IsMapped || !OperatingSystem.IsLinux())
        {
            return IsMapped;
        }

        MappedFile mapped = new(_stream);
        try
        {
            if (hugePages)
            {
                mapped.AdviseHugePages();
            }

            ParallelOptions options = new() { MaxDegreeOfParallelism = threads };
            if (_sections.Values.All(section => section.TryCheck(mapped, options)) && (!hugePages || HasHugePages(mapped)))
            {
                _mapped = mapped;
                return true;
            }
        }
        finally
        {
            if (_mapped is null)
            {
                mapped.Dispose();
            }
        }

        return false;
    }

    /// <summary>
    /// Closes the file. Parts that were taken from the mapping stay valid until they are disposed of, whatever becomes of the file's name.
    /// </summary>
    public void Dispose()
    {
        _mapped?.Dispose();
        _stream.Dispose();
    }

    private static bool HasHugePages(MappedFile mapped)
    {
        try
        {
            return mapped.CountHugeBytes() >= LeastHugeShare * mapped.ByteCount;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
