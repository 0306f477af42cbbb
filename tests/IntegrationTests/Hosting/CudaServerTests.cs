using InferenceServer.IntegrationTests.Training;
using InferenceServer.Protocol.V1;
using InferenceServer.TestKit.Cuda;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

/// <summary>The whole server with --device cuda, on the CPU stand-in for CUDA's libraries: the tokens are those of the CPU.</summary>
[Collection(StandInCollection.Name)]
public sealed class CudaServerTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    private const int Tokens = 8;

    private static readonly string[] s_tenants = ["", "shout", "whisper", "shout", ""];

    [StandInFact]
    public async Task Tenants_of_one_batch_get_the_tokens_of_the_cpu_also_while_one_is_merged()
    {
        await using RunningServer cpu = await StartAsync("--device", "cpu");
        IReadOnlyList<int>[] expected = await GenerateAllAsync(cpu);

        await using RunningServer cuda = await StartAsync([.. Cuda()]);
        Assert.StartsWith("cuda: CPU stand-in", (await cuda.Client.GetInfoAsync()).Device, StringComparison.Ordinal);
        IReadOnlyList<int>[] seen = await GenerateAllAsync(cuda);
        await cuda.Client.Adapters.MergeAsync("shout");
        IReadOnlyList<int>[] merged = await GenerateAllAsync(cuda);
        await cuda.Client.Adapters.UnmergeAsync();
        IReadOnlyList<int>[] after = await GenerateAllAsync(cuda);

        Assert.NotEqual(expected[0], expected[1]);
        Assert.Equal(expected, seen);
        Assert.Equal(expected, merged);
        Assert.Equal(expected, after);
    }

    [StandInFact]
    public async Task Without_graphs_and_without_shared_memory_the_tokens_are_the_same()
    {
        await using RunningServer graphs = await StartAsync([.. Cuda()]);
        await using RunningServer eager = await StartAsync([.. Cuda(), "--graphs", "false", "--kv-memory", "4MiB"]);

        Assert.Equal(await GenerateAllAsync(eager), await GenerateAllAsync(graphs));
    }

    [StandInTheory]
    [InlineData(4096, 128)]
    [InlineData(4096, 7, "--max-running", "7")]
    [InlineData(100, 100, "--max-batch-tokens", "100")]
    public async Task Limits_of_a_step_that_were_not_given_are_those_of_the_devices_memory(int tokens, int running, params string[] given)
    {
        StandIn.SetMemory(40L << 30);
        try
        {
            await using RunningServer server = await RunningServer.StartAsync([.. Cuda(), .. given]);
            Limits limits = (await server.Client.GetInfoAsync()).Limits;

            Assert.Equal(((uint)tokens, (uint)running), ((uint)limits.MaxBatchTokens, (uint)limits.MaxRunningSequences));
        }
        finally
        {
            StandIn.Reset();
        }
    }

    [StandInFact]
    public async Task A_job_trains_on_the_device_and_its_adapter_is_served_there()
    {
        await using RunningServer server = await tiny.ServeAsync([.. Cuda()]);
        IReadOnlyList<int> untrained = (await server.Client.GenerateTextAsync("say 3c:", Generate.Greedy(tokens: 4))).TokenIds;

        TrainingJob started = await server.Client.Training.StartAsync(JobSpecs.Plain("pupil", 4), JobSpecs.Data());
        await Jobs.FinishAsync(server.Client.Training, started.Id);

        TrainingJob job = await server.Client.Training.GetAsync(started.Id);
        Assert.Equal(TrainingState.Completed, job.State);
        Assert.True(double.IsFinite(job.Loss) && job.Loss > 0);
        Assert.Equal(4, (await server.Client.GenerateTextAsync("say 3c:", Generate.Greedy("pupil", 4))).TokenIds.Count);
        Assert.Equal(untrained, (await server.Client.GenerateTextAsync("say 3c:", Generate.Greedy(tokens: 4))).TokenIds);
    }

    [StandInFact]
    public async Task A_sticky_error_ends_the_process_with_its_cause_and_no_request_hangs()
    {
        try
        {
            await using RunningServer server = await StartAsync([.. Cuda()]);
            await server.Client.GenerateTextAsync("hello", Generate.Greedy(tokens: 2));
            StandIn.Fail(DriverCall.Launch, 1, code: 700);
            StandIn.Fail(DriverCall.GraphLaunch, 1, code: 700);

            await Assert.ThrowsAnyAsync<Exception>(() => server.Client.GenerateTextAsync("hello", Generate.Greedy(tokens: 2)));

            TaskCompletionSource stopping = new();
            using CancellationTokenRegistration registration =
                server.Host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.Register(stopping.SetResult);
            await stopping.Task.WaitAsync(TimeSpan.FromMinutes(1));
        }
        finally
        {
            StandIn.Reset();
        }
    }

    private static string[] Cuda() =>
        ["--device", "cuda", "--cuda-libraries", StandIn.Folder, "--cuda-products", "exact", "--kv-format", "f32", "--shared-memory", "24MiB", "--adapter-device-memory", "1MiB"];

    private static async Task<RunningServer> StartAsync(params string[] options)
    {
        RunningServer server = await RunningServer.StartAsync(options);
        await server.Client.Adapters.UploadFolderAsync("shout", RunningServer.Sample("shout"));
        await server.Client.Adapters.UploadFolderAsync("whisper", RunningServer.Sample("whisper"));
        return server;
    }

    private static async Task<IReadOnlyList<int>[]> GenerateAllAsync(RunningServer server)
    {
        IEnumerable<Task<IReadOnlyList<int>>> all = s_tenants.Select(async adapter =>
            (IReadOnlyList<int>)(await server.Client.GenerateTextAsync("hello there", Generate.Greedy(adapter, Tokens))).TokenIds);
        return await Task.WhenAll(all);
    }
}
