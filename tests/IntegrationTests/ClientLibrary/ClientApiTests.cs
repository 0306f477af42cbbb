using InferenceServer.Client;
using InferenceServer.TestKit;
using Xunit;

namespace InferenceServer.IntegrationTests.ClientLibrary;

/// <summary>
/// The client library's public surface is pinned: others build on it. An intended change is written down with APPROVE_API=1.
/// </summary>
public class ClientApiTests
{
    [Fact]
    public void The_client_librarys_public_api_is_the_approved_one()
    {
        string approved =
            Path.Combine(GoldenData.RepositoryRoot()!, "tests", "IntegrationTests", "ClientLibrary", "ClientApi.approved.txt");
        string found = PublicApi.Describe(typeof(InferenceClient).Assembly);
        if (Environment.GetEnvironmentVariable("APPROVE_API") == "1")
        {
            File.WriteAllText(approved, found);
        }

        Assert.Equal(File.ReadAllText(approved), found);
    }
}
