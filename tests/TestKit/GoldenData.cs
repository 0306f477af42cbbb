namespace InferenceServer.TestKit;

/// <summary>
/// Finds the golden data (fixtures/, tokenizers/): the folder named by the environment variable <c>GOLDEN_DIR</c>, by default the
/// folder <c>shared</c> beside the repository.
/// </summary>
public static class GoldenData
{
    /// <summary>The folder that holds the golden data, or null when there is none on this machine.</summary>
    public static string? Root { get; } = Find();

    /// <summary>Why there is no golden data; shown as the skip reason.</summary>
    public const string MissingReason = "no golden data: GOLDEN_DIR is not set and there is no ../shared beside the repository";

    private static string? Find()
    {
        string? named = Environment.GetEnvironmentVariable("GOLDEN_DIR");
        if (!string.IsNullOrEmpty(named))
        {
            // A named folder is taken as it is: when it is missing or empty the tests fail instead of skipping.
            return Path.GetFullPath(named, RepositoryRoot() ?? Environment.CurrentDirectory);
        }

        string? repository = RepositoryRoot();
        if (repository is null)
        {
            return null;
        }

        string beside = Path.Combine(repository, "..", "shared");
        return Directory.Exists(Path.Combine(beside, "fixtures")) || Directory.Exists(Path.Combine(beside, "tokenizers"))
            ? Path.GetFullPath(beside)
            : null;
    }

    /// <summary>The repository's root (the folder of InferenceServer.sln), or null when the tests run elsewhere.</summary>
    public static string? RepositoryRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "InferenceServer.sln")))
            {
                return folder.FullName;
            }
        }

        return null;
    }
}
