using System.Text.Json;
using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Golden;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.IntegrationTests.Golden;

/// <summary>
/// The whole road: a server for each golden base, all its PEFT adapters uploaded over gRPC, and every golden sequence of all of them at once.
/// Each has to continue as transformers and PEFT did, token for token; and again while one of the adapters is merged into the base.
/// </summary>
public class GoldenServingTests(ITestOutputHelper output)
{
    private int _sequences;
    private int _adapters;
    private int _refused;
    private int _merged;

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Every_base_serves_all_its_adapters_at_once_as_peft_does()
    {
        GoldenCases.RunFolders(output, "fixtures/bases/*", folder => Task.Run(() => ServeAsync(folder)).GetAwaiter().GetResult());
        output.WriteLine($"{_adapters} adapters uploaded, {_refused} refused by name, {_merged} merged meanwhile, "
            + $"{_sequences} continuations equal");
    }

    private async Task ServeAsync(string baseFolder)
    {
        await using RunningServer server = await RunningServer.StartAsync("--model", baseFolder);
        List<(string Adapter, string Folder)> served = [("", baseFolder)];
        string adapters = Path.Combine(GoldenData.Root!, "fixtures", "adapters", Path.GetFileName(baseFolder));
        string[] folders = Directory.Exists(adapters) ? Directory.GetDirectories(adapters) : [];
        foreach (string folder in folders)
        {
            string name = Path.GetFileName(folder);
            if (IsServed(folder))
            {
                await server.Client.Adapters.UploadFolderAsync(name, folder);
                served.Add((name, folder));
                _adapters++;
            }
            else
            {
                InferenceException refusal =
                    await Assert.ThrowsAsync<InferenceException>(() => server.Client.Adapters.UploadFolderAsync(name, folder));
                Assert.Equal(StatusCode.InvalidArgument, refusal.Status);
                Assert.Contains("peft_type", refusal.Message, StringComparison.Ordinal);
                _refused++;
            }
        }

        await Task.WhenAll(served.Select(one => ContinueAsync(server.Client, one.Adapter, one.Folder)));
        if (served.FirstOrDefault(one => one.Adapter.StartsWith("lora", StringComparison.Ordinal)) is { Adapter: { } merged })
        {
            await server.Client.Adapters.MergeAsync(merged);
            await Task.WhenAll(served.Select(one => ContinueAsync(server.Client, one.Adapter, one.Folder)));
            _merged++;
        }
    }

    private async Task ContinueAsync(InferenceClient client, string adapter, string folder)
    {
        using ExpectedTensors expected = new(folder);
        for (int i = 0; expected.Has($"seq{i}.greedy"); i++)
        {
            int[] greedy = expected.Ints($"seq{i}.greedy");
            GenerateRequest request = Generate.Request("", adapter, greedy.Length);
            request.TokenIds = new TokenIds();
            request.TokenIds.Ids.Add(expected.Ints($"seq{i}.input_ids"));
            List<int> tokens = [];
            await foreach (GenerateResponse message in client.GenerateAsync(request))
            {
                tokens.AddRange(message.TokenIds);
            }

            Assert.True(greedy.SequenceEqual(tokens), $"'{adapter}' seq{i}: expected {string.Join(' ', greedy)}, got {string.Join(' ', tokens)}");
            Interlocked.Increment(ref _sequences);
        }
    }

    /// <summary>LoHa and LoKr are refused by name.</summary>
    private static bool IsServed(string folder)
    {
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "adapter_config.json")));
        return config.RootElement.GetProperty("peft_type").GetString() is not ("LOHA" or "LOKR");
    }
}
