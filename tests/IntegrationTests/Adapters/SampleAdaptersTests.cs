using InferenceServer.TestKit;
using Xunit;

namespace InferenceServer.IntegrationTests.Adapters;

/// <summary>
/// The adapters in samples/ for the embedded placeholder. After a change of the maker write them anew:
/// <c>REMAKE_SAMPLES=1 dotnet test tests/IntegrationTests --filter SampleAdapters</c>.
/// </summary>
public class SampleAdaptersTests
{
    private const int MostBytes = 100 * 1024;

    public static TheoryData<string> Samples => ["shout", "whisper"];

    [Theory]
    [MemberData(nameof(Samples))]
    public void A_sample_adapter_is_what_its_maker_writes(string name)
    {
        string kept = Path.Combine(GoldenData.RepositoryRoot()!, "samples", "adapters", name);
        using TemporaryFolder made = new();
        Write(made.Path, name);
        if (Environment.GetEnvironmentVariable("REMAKE_SAMPLES") == "1")
        {
            Write(kept, name);
        }

        foreach (string path in Directory.GetFiles(made.Path))
        {
            byte[] bytes = File.ReadAllBytes(path);
            Assert.InRange(bytes.Length, 1, MostBytes);
            Assert.Equal(bytes, File.ReadAllBytes(Path.Combine(kept, Path.GetFileName(path))));
        }
    }

    private static void Write(string folder, string name)
    {
        if (name == "shout")
        {
            AdapterMaker.Write(folder, seed: 11, rank: 4, token => Leaning(token, char.IsAsciiLetterUpper, char.IsAsciiLetterLower));
        }
        else
        {
            AdapterMaker.Write(folder, seed: 12, rank: 8, token => Leaning(token, char.IsAsciiLetterLower, char.IsAsciiLetterUpper));
        }
    }

    private static float Leaning(int token, Func<char, bool> towards, Func<char, bool> away)
    {
        char character = (char)token;
        return towards(character) ? 4f : away(character) ? -6f : 0f;
    }
}
