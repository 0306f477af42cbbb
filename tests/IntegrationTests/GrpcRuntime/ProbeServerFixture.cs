using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>One probe server for the tests of a class.</summary>
public sealed class ProbeServerFixture : IAsyncLifetime
{
    public ProbeServer Server { get; private set; } = null!;

    public async Task InitializeAsync() => Server = await ProbeServer.StartAsync();

    public async Task DisposeAsync() => await Server.DisposeAsync();
}
