using InferenceServer.Client;
using InferenceServer.Cpu;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Placeholder;
using InferenceServer.TestKit.TinyModel;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

public class DeviceTests
{
    [Fact]
    public async Task A_lost_device_is_unhealthy_and_ends_the_process_with_its_cause()
    {
        HookedBackend backend = new(new CpuBackend(new CpuOptions { ThreadCount = 1 }));
        using TemporaryFolder data = new();
        await using InferenceServerHost host = InferenceServerHost.Build(
            ["--grpc", "http://127.0.0.1:0", "--http", "none", "--data", data.Path, "--model", PlaceholderModel.Folder, "--device", "cpu", "--drain", "5"],
            builder => builder.Services.AddSingleton<IComputeBackend>(backend));
        Task<int> exit = host.RunAsync();
        await host.Ready;
        using InferenceClient client = new(host.GrpcAddress.ToString());
        await client.GenerateTextAsync("hello", Generate.Greedy(tokens: 4));
        backend.OnBeginStep = _ => throw new DeviceLostException("cuStreamSynchronize: an illegal address", new InvalidOperationException());

        await Assert.ThrowsAnyAsync<Exception>(() => client.GenerateTextAsync("hello"));

        Assert.Equal(1, await exit.WaitAsync(TimeSpan.FromMinutes(1)));
    }

    [Fact]
    public async Task Asking_for_a_cuda_device_that_is_not_there_says_what_is_missing()
    {
        using TemporaryFolder data = new();
        await using InferenceServerHost host = InferenceServerHost.Build(
        [
            "--grpc", "http://127.0.0.1:0", "--http", "none", "--data", data.Path, "--model", PlaceholderModel.Folder,
            "--device", "cuda", "--cuda-device", "99",
        ]);

        Assert.Equal(1, await host.RunAsync().WaitAsync(TimeSpan.FromMinutes(1)));
        Exception error = await Assert.ThrowsAnyAsync<Exception>(() => host.Ready);
        Assert.StartsWith("--device cuda: ", error.Message, StringComparison.Ordinal);
        Assert.Matches("libcuda|libnvrtc|libcublasLt|cuInit|device 99 was asked for and there are", error.Message);
    }
}
