using InferenceServer.Client;
using Xunit;

namespace InferenceServer.IntegrationTests;

/// <summary>One running server for the tests of a class, with the two sample adapters on it.</summary>
public sealed class ServerFixture : IAsyncLifetime
{
    private RunningServer? _server;

    internal RunningServer Server => _server!;

    public async Task InitializeAsync()
    {
        _server = await RunningServer.StartAsync();
        await Client.Adapters.UploadFolderAsync("shout", RunningServer.Sample("shout"));
        await Client.Adapters.UploadFolderAsync("whisper", RunningServer.Sample("whisper"));
    }

    public async Task DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    internal InferenceClient Client => Server.Client;
}
