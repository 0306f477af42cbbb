namespace InferenceServer.Tensors.Packed;

/// <summary>A file of packed weights that must not be used: broken, cut off, of another version or about something else.</summary>
public sealed class PackedFileException : Exception
{
    public PackedFileException(string file, string problem, Exception? inner = null)
        : base($"{file}: {problem}", inner)
    {
        Problem = problem;
    }

    /// <summary>What is wrong, without the file's name.</summary>
    public string Problem { get; }
}
