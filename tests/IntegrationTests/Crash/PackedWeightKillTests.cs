using System.Diagnostics;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.Crash;

/// <summary>kill -9 while packed weights are being written: the next start serves the same answers and sweeps the half.</summary>
[Trait("Category", "Slow")]
public class PackedWeightKillTests(ITestOutputHelper output)
{
    private const int Rounds = 5;

    [Fact]
    public async Task Killed_while_writing_the_next_start_serves_as_if_nothing_had_been()
    {
        using TemporaryFolder folder = new();
        string model = Path.Combine(folder.Path, "model");
        string cache = Path.Combine(folder.Path, "packed");
        new TinyLlama { HiddenSize = 384, IntermediateSize = 1024, Layers = 6, WeightType = DType.BF16 }.Write(model);
        string[] options = ["--model", model, "--packed-cache", cache];
        IReadOnlyList<int> expected;
        using (ServerProcess uncached = await ServerProcess.StartAsync(Path.Combine(folder.Path, "data"), [.. options, "--packed-cache", "off"]))
        {
            expected = await GenerateAsync(uncached.Client);
        }

        Random random = new(20261122);
        int halves = 0;
        for (int round = 0; round < Rounds; round++)
        {
            foreach (string whole in Packed(cache))
            {
                File.Delete(whole);
            }

            using Process server = ServerProcess.Launch(Path.Combine(folder.Path, "data"), options);
            Task drained = server.StandardOutput.ReadToEndAsync();
            await Eventually.Holds("the writing began", () => Halves(cache).Length + Packed(cache).Length > 0);
            await Task.Delay(random.Next(10));
            server.Kill();
            await server.WaitForExitAsync();
            await drained;
            halves += Halves(cache).Length;

            using ServerProcess next = await ServerProcess.StartAsync(Path.Combine(folder.Path, "data"), options);
            Assert.Equal(expected, await GenerateAsync(next.Client));
            await Eventually.Holds("the file is written", () => Packed(cache).Length == 1 && Halves(cache).Length == 0);
        }

        output.WriteLine($"killed {Rounds} times, {halves} halves left");
        using ServerProcess last = await ServerProcess.StartAsync(Path.Combine(folder.Path, "data"), options);
        Assert.Equal(expected, await GenerateAsync(last.Client));
    }

    private static string[] Packed(string cache) => Directory.Exists(cache) ? Directory.GetFiles(cache, "*.packed") : [];

    private static string[] Halves(string cache) => Directory.Exists(cache) ? Directory.GetFiles(cache, "*.partial") : [];

    private static async Task<IReadOnlyList<int>> GenerateAsync(InferenceClient client)
    {
        GenerationSettings settings = new()
        {
            Sampling = new SamplingParameters { Temperature = 0 },
            Stopping = new StoppingCriteria { MaxTokens = 8, IgnoreEos = true },
        };
        return (await client.GenerateTextAsync("packed", settings)).TokenIds;
    }
}
