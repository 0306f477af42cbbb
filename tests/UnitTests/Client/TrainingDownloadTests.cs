using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using Google.Protobuf;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.UnitTests.AdapterStore;
using Xunit;

namespace InferenceServer.UnitTests.Client;

/// <summary>What a server sends is not believed: files lie below the folder, whole and with the announced hash, or not at all.</summary>
public sealed class TrainingDownloadTests
{
    [Fact]
    public async Task Files_arrive_in_their_places_and_replace_those_before_them()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["config.json"], "before");

        IReadOnlyList<string> names = await DownloadAsync(
            folder, Start("config.json", "after"), Data("af"), Data("ter"), Start("more/empty.jinja", ""), Start("more/one.jinja", "1"), Data("1"));

        Assert.Equal(["config.json", "more/empty.jinja", "more/one.jinja"], names);
        Assert.Equal(("after", "", "1"), (Text("config.json"), Text("more/empty.jinja"), Text("more/one.jinja")));
        Assert.Equal(3, Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories).Length);

        string Text(string name) => File.ReadAllText(folder[name]);
    }

    [Theory]
    [InlineData("after", "aftex", "came with 5 bytes and SHA-256")]
    [InlineData("after", "afte", "came with 4 bytes and SHA-256")]
    [InlineData("after", "after!", "came with 6 bytes and SHA-256")]
    public async Task A_file_that_is_not_as_announced_leaves_what_was_there(string announced, string sent, string reason)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["config.json"], "before");

        InvalidDataException error = await Assert.ThrowsAsync<InvalidDataException>(
            () => DownloadAsync(folder, Start("config.json", announced), Data(sent)));

        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.Equal("before", File.ReadAllText(folder["config.json"]));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData("")]
    [InlineData("..")]
    [InlineData("../config.json")]
    [InlineData("more/../../config.json")]
    [InlineData("/etc/config.json")]
    [InlineData("more//config.json")]
    [InlineData("more\\config.json")]
    [InlineData("C:config.json")]
    public async Task A_name_that_leads_out_of_the_folder_is_refused(string name)
    {
        using TemporaryFolder folder = new();

        InvalidDataException error = await Assert.ThrowsAsync<InvalidDataException>(() => DownloadAsync(folder, Start(name, "x"), Data("x")));

        Assert.Equal($"the server named a file '{name}', which is no name below a folder", error.Message);
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task Bytes_of_no_file_are_refused()
    {
        using TemporaryFolder folder = new();

        await Assert.ThrowsAsync<InvalidDataException>(() => DownloadAsync(folder, Data("x")));
    }

    private static async Task<IReadOnlyList<string>> DownloadAsync(TemporaryFolder folder, params FileChunk[] messages)
    {
        using InferenceClient client = new(new InferenceClientOptions { Address = new Uri("http://stub"), HttpHandler = new Sender(messages) });
        return await client.Training.DownloadAdapterAsync("tenant", folder.Path);
    }

    private static FileChunk Start(string name, string content)
    {
        ByteString bytes = ByteString.CopyFromUtf8(content);
        return new FileChunk
        {
            File = new FileStart { Name = name, SizeBytes = bytes.Length, Sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes.Span)) },
        };
    }

    private static FileChunk Data(string content) => new() { Data = ByteString.CopyFromUtf8(content) };

    private sealed class Sender(FileChunk[] messages) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            using MemoryStream frames = new();
            foreach (FileChunk chunk in messages)
            {
                byte[] message = chunk.ToByteArray();
                byte[] head = new byte[5];
                BinaryPrimitives.WriteInt32BigEndian(head.AsSpan(1), message.Length);
                frames.Write(head);
                frames.Write(message);
            }

            HttpResponseMessage response = new(HttpStatusCode.OK)
            {
                Version = HttpVersion.Version20,
                Content = new ByteArrayContent(frames.ToArray()),
            };
            response.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
            response.TrailingHeaders.Add("grpc-status", "0");
            return Task.FromResult(response);
        }
    }
}
