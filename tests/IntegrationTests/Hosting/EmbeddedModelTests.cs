using System.Security.Cryptography;
using InferenceServer.Server.Embedded;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

public class EmbeddedModelTests
{
    [Fact]
    public void The_placeholder_has_the_same_bytes_everywhere()
    {
        using TemporaryFolder folder = new();

        EmbeddedModel.Write(folder.Path);

        string hash = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(folder.Path, "model.safetensors"))));
        Assert.Equal("8487ebed1126106ce5d539ccc2216bd35e1056fb05608a05cdcacd0582ad6663", hash);
    }

    [Fact]
    public void It_is_made_once_and_found_again()
    {
        using TemporaryFolder data = new();

        string first = EmbeddedModel.EnsureCreated(data.Path);
        File.WriteAllText(Path.Combine(first, "mark"), "");
        string second = EmbeddedModel.EnsureCreated(data.Path);

        Assert.Equal(first, second);
        Assert.True(File.Exists(Path.Combine(second, "mark")));
        Assert.Single(Directory.GetFileSystemEntries(data.Path));
    }
}
