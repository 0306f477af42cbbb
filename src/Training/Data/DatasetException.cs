namespace InferenceServer.Training.Data;

/// <summary>A data set that cannot be learnt from; the message names file, line and field.</summary>
public sealed class DatasetException : Exception
{
    public DatasetException(string file, int line, string? field, string reason, Exception? inner = null)
        : base(Describe(file, line, field, reason), inner)
    {
        File = file;
        Line = line;
        Field = field;
    }

    /// <summary>Name of the file.</summary>
    public string File { get; }

    /// <summary>The line, from 1; 0 for the file as a whole.</summary>
    public int Line { get; }

    /// <summary>The field, as <c>messages[2].role</c>; null for the line as a whole.</summary>
    public string? Field { get; }

    private static string Describe(string file, int line, string? field, string reason) =>
        file + (line > 0 ? $", line {line}" : "") + (field is null ? "" : $", field '{field}'") + ": " + reason;
}
