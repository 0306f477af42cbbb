using System.Diagnostics.CodeAnalysis;

namespace InferenceServer.AdapterStore;

/// <summary>
/// One version of one adapter, <c>name@digest</c>: the identity everywhere (caches, KV prefixes, metrics). A new upload under the same
/// name has another digest and so is another adapter.
/// </summary>
/// <param name="Name">The adapter's name; see <see cref="AdapterName"/>.</param>
/// <param name="Digest">SHA-256 over the files, 64 lower-case hex digits; see <see cref="AdapterDigest"/>.</param>
public readonly record struct AdapterId(string Name, string Digest)
{
    /// <summary>Reads <c>name@digest</c>.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out AdapterId id)
    {
        id = default;
        int at = text?.IndexOf('@', StringComparison.Ordinal) ?? -1;
        if (at <= 0 || !AdapterName.IsValid(text![..at]) || !AdapterDigest.IsValid(text.AsSpan(at + 1)))
        {
            return false;
        }

        id = new AdapterId(text[..at], text[(at + 1)..]);
        return true;
    }

    public override string ToString() => $"{Name}@{Digest}";
}
