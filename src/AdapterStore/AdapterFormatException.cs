using System.Text;

namespace InferenceServer.AdapterStore;

/// <summary>An adapter that is not accepted; the message names the file, the tensor or field, what was expected and what was found.</summary>
public sealed class AdapterFormatException : Exception
{
    /// <param name="file">File name, for example <c>adapter_config.json</c>.</param>
    /// <param name="subject">Tensor or field that is wrong; empty for the file as a whole.</param>
    /// <param name="expected">What the server accepts.</param>
    /// <param name="found">What it got.</param>
    /// <param name="inner">The cause, if another exception told.</param>
    public AdapterFormatException(string file, string subject, string expected, string found, Exception? inner = null)
        : base(Describe(file, subject, expected, found), inner)
    {
        File = file;
        Subject = Shown(subject);
        Expected = expected;
        Found = found;
    }

    public string File { get; }

    public string Subject { get; }

    public string Expected { get; }

    public string Found { get; }

    // A hostile name may be megabytes long or hold control characters; messages stay readable.
    internal static string Shown(string text)
    {
        const int Most = 160;
        StringBuilder shown = new();
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, Most)))
        {
            shown.Append(char.IsControl(c) || char.IsSurrogate(c) ? '?' : c);
        }

        return text.Length > Most ? shown.Append("...").ToString() : shown.ToString();
    }

    private static string Describe(string file, string subject, string expected, string found) =>
        subject.Length == 0
            ? $"{file}: expected {expected}, found {found}"
            : $"{file}: '{Shown(subject)}': expected {expected}, found {found}";
}
