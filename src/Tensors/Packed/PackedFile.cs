namespace InferenceServer.Tensors.Packed;

/// <summary>
/// Weight matrices in the form that a backend packed them into. Opening checks the header, reading checks every byte: what comes out is
/// what went in, or a <see cref="PackedFileException"/>.
/// </summary>
public sealed class PackedFile : IDisposable
{
    private readonly FileStream _stream;
    private readonly Dictionary<string, PackedSection> _sections;

    private PackedFile(FileStream stream, Dictionary<string, PackedSection> sections)
    {
        _stream = stream;
        _sections = sections;
    }

    public string FilePath => _stream.Name;

    /// <summary>Bytes of the file.</summary>
    public long ByteCount => _stream.Length;

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

    /// <summary>A matrix by its name; null when there is none like that.</summary>
    public PackedSection? Find(int rows, int columns, WeightFormat format, string label) =>
        _sections.TryGetValue(label, out PackedSection? section) && section.Rows == rows && section.Columns == columns && section.Format == format
            ? section
            : null;

    public void Dispose() => _stream.Dispose();
}
