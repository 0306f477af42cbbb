using System.Xml.Linq;
using InferenceServer.TestKit;
using Xunit;

namespace InferenceServer.UnitTests.House;

/// <summary>The arrows of docs/ARCHITECTURE.md, read off the project files.</summary>
public sealed class ArrowTests
{
    private static readonly Dictionary<string, string[]> s_allowed = new(StringComparer.Ordinal)
    {
        ["Tensors"] = [],
        ["Cpu"] = ["Tensors"],
        ["Cuda"] = ["Tensors"],
        ["Models"] = ["Tensors"],
        ["AdapterStore"] = ["Tensors"],
        ["Engine"] = ["Models", "AdapterStore"],
        ["Training"] = ["Models", "AdapterStore"],
        ["Demo"] = ["Cpu", "Engine", "Training"],
        ["Protocol"] = [],
        ["Server"] = ["Tensors", "Cpu", "Cuda", "Models", "AdapterStore", "Engine", "Training", "Protocol"],
        ["Client"] = ["Protocol"],
        ["Cli"] = ["Client"],
    };

    [Fact]
    public void Projects_refer_only_where_the_arrows_point()
    {
        string source = Path.Combine(GoldenData.RepositoryRoot()!, "src");
        string[] projects = Directory.GetFiles(source, "*.csproj", SearchOption.AllDirectories);
        Assert.NotEmpty(projects);
        foreach (string project in projects)
        {
            string name = Path.GetFileNameWithoutExtension(project);
            Assert.True(s_allowed.ContainsKey(name), $"{name} has no place in the house; add it to docs/ARCHITECTURE.md and here");
            foreach (XElement reference in XDocument.Load(project).Descendants("ProjectReference"))
            {
                string target = Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value.Replace('\\', '/'));
                Assert.True(s_allowed[name].Contains(target), $"{name} may not refer to {target}");
            }
        }
    }

    [Fact]
    public void Protocol_and_client_do_not_need_the_web_server()
    {
        string source = Path.Combine(GoldenData.RepositoryRoot()!, "src");
        foreach (string name in (string[])["Protocol", "Client", "Cli"])
        {
            XDocument project = XDocument.Load(Path.Combine(source, name, name + ".csproj"));

            Assert.Equal("Microsoft.NET.Sdk", project.Root!.Attribute("Sdk")!.Value);
            Assert.Empty(project.Descendants("FrameworkReference"));
        }
    }
}
