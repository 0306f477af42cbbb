using System.Diagnostics;
using System.Globalization;
using InferenceServer.Benchmarks.Gpu.Models;

namespace InferenceServer.Benchmarks.Gpu.Peer;

/// <summary>The same batches by this server and by transformers with PEFT, in turn: the base, one adapter for all, and an adapter for each.</summary>
internal static class PeerStage
{
    public const string MixedRatio = "batch of 32 adapters, times PEFT";

    private const int Batch = TenantStage.Batch;
    private const int PromptTokens = 32;
    private const int NewTokens = 64;
    private const int WarmUpTokens = 4;

    private static readonly (string Name, string What, int[] Adapters)[] s_batches =
    [
        ("base", "batch of 32, base, times transformers", [.. Enumerable.Repeat(-1, Batch)]),
        ("identical", "batch of 32, one adapter, times PEFT", new int[Batch]),
        ("distinct", MixedRatio, [.. Enumerable.Range(0, Batch)]),
    ];

    public static async Task RunAsync(StageRun run)
    {
        ModelDimensions shape = run.Options.TenantShape;
        (PeftProcess? started, string reason) = await PeftProcess.StartAsync(
            run.Options, shape, run.Folder("peer"), "--adapters", Batch.ToString(CultureInfo.InvariantCulture));
        if (started is null)
        {
            run.Skip(shape.Name, MixedRatio, reason);
            return;
        }

        using PeftProcess peer = started;
        await using GpuServer server = await GpuServer.StartAsync(
            run, shape, Batch * (PromptTokens + NewTokens + 32), "--adapter-device-memory", "4GiB");
        server.AddAdapters(0, Batch, () => run.Has(0.5));
        Random random = new(11);

        // Adapters come onto the device, code is compiled, kernels are chosen.
        foreach ((_, _, int[] adapters) in s_batches)
        {
            await peer.GenerateAsync(adapters, PromptTokens, WarmUpTokens);
        }

        // The one that counts first: its slices take long.
        foreach ((string name, string what, int[] adapters) in s_batches.Reverse())
        {
            Alternation sides = new(
                ("ours", () => ServeAsync(server, adapters, random)),
                ("theirs", () => peer.GenerateAsync(adapters, PromptTokens, shape.Tokens(NewTokens))));
            await sides.RunAsync(Math.Min(3, run.Options.Rounds), () => run.Has(0.3));
            string note = string.Create(
                CultureInfo.InvariantCulture, $"{peer.Versions}; bf16, prompts of {PromptTokens}, {shape.Tokens(NewTokens)} new tokens, prompts included; median of {sides.Rounds} rounds");
            run.Record(shape.Name, $"{name}, ours", sides.Median("ours"), "tokens/s", note: note);
            run.Record(shape.Name, $"{name}, theirs", sides.Median("theirs"), "tokens/s", note: note);
            run.Record(shape.Name, what, sides.Ratio("ours", "theirs"), "times", note: note);
        }
    }

    private static async Task<double> ServeAsync(GpuServer server, int[] adapters, Random random)
    {
        int newTokens = server.Shape.Tokens(NewTokens);
        long start = Stopwatch.GetTimestamp();
        await StreamRun.RunAsync(
            server.Engine, [.. adapters.Select(number => number < 0 ? "" : AdapterFiles.NameOf(number))], PromptTokens, newTokens, random, server.Shape.Vocabulary);
        return adapters.Length * newTokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
