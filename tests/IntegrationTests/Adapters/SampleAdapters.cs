namespace InferenceServer.IntegrationTests.Adapters;

/// <summary>Two adapters of the placeholder model, made once for the process: shout leans towards capitals, whisper towards small letters.</summary>
internal static class SampleAdapters
{
    private static readonly Lazy<string> s_root = new(Write);

    public static string Folder(string name) => Path.Combine(s_root.Value, name);

    private static string Write()
    {
        string root = Directory.CreateTempSubdirectory("sample-adapters-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(root, recursive: true);
        AdapterMaker.Write(
            Path.Combine(root, "shout"), seed: 11, rank: 4, token => Leaning(token, char.IsAsciiLetterUpper, char.IsAsciiLetterLower));
        AdapterMaker.Write(
            Path.Combine(root, "whisper"), seed: 12, rank: 8, token => Leaning(token, char.IsAsciiLetterLower, char.IsAsciiLetterUpper));
        return root;
    }

    private static float Leaning(int token, Func<char, bool> towards, Func<char, bool> away)
    {
        char character = (char)token;
        return towards(character) ? 4f : away(character) ? -6f : 0f;
    }
}
