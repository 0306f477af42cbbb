using System.Globalization;
using InferenceServer.Engine.Requests;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>Decoding and prefill of the base alone, beside what the device's memory and matrix units allow.</summary>
internal static class SpeedStage
{
    public const int PromptTokens = 128;

    private const int UsualTokens = 256;

    // The last one for what long contexts cost.
    private static readonly (int Batch, int Prompt)[] s_decodes = [(1, PromptTokens), (16, PromptTokens), (64, PromptTokens), (16, 4096)];
    private static readonly int[] s_prefills = [512, 2048];

    public static string Decode(int batch, int prompt = PromptTokens) =>
        string.Create(CultureInfo.InvariantCulture, $"decode, batch {batch}{(prompt == PromptTokens ? "" : $" after {prompt} tokens")}");

    public static string Prefill(int tokens) => string.Create(CultureInfo.InvariantCulture, $"prefill of {tokens}");

    public static async Task RunAsync(StageRun run)
    {
        Ceilings ceilings = Ceilings.Read(run.Results);
        double share = 1.0 / run.Options.Shapes.Count;
        for (int i = 0; i < run.Options.Shapes.Count; i++)
        {
            ModelDimensions shape = run.Options.Shapes[i];
            double until = 1 - ((i + 1) * share);
            await run.TryAsync(shape.Name, () => MeasureAsync(run, shape, ceilings, () => run.Has(until)));
        }
    }

    private static async Task MeasureAsync(StageRun run, ModelDimensions shape, Ceilings ceilings, Func<bool> goesOn)
    {
        int newTokens = shape.Tokens(UsualTokens);
        await using GpuServer server = await GpuServer.StartAsync(run, shape, s_decodes.Max(decode => decode.Batch * (decode.Prompt + newTokens + 32)));
        Random random = new(3);
        foreach ((int batch, int prompt) in s_decodes.Where(decode => decode.Prompt == PromptTokens || goesOn()))
        {
            string name = Decode(batch, prompt);
            Alternation decode = new((name, async () =>
            {
                StreamRun streams = await StreamRun.RunAsync(server.Engine, [.. Enumerable.Repeat("", batch)], prompt, newTokens, random, shape.Vocabulary);
                return streams.TokensPerSecond;
            }
            ));
            await decode.RunAsync(run.Options.Rounds, goesOn);
            double context = prompt + (newTokens / 2.0);
            double bytes = (2.0 * shape.MultipliedParameters) + (batch * context * server.KvBytesPerToken);
            double operations = batch * ((2.0 * shape.MultipliedParameters) + shape.AttentionOperations(context));
            run.Record(shape.Name, name, decode.Median(name), "tokens/s", batch / ceilings.Seconds(bytes, operations), Rounds(decode, name));
        }

        foreach (int tokens in s_prefills)
        {
            Alternation prefill = new((Prefill(tokens), async () =>
            {
                GenerationUsage usage = await StreamRun.ReadAsync(
                    server.Engine, StreamRun.Request("", tokens, newTokens: 1, random, shape.Vocabulary), []);
                return tokens / usage.TimeToFirstToken.TotalSeconds;
            }
            ));
            await prefill.RunAsync(3 * run.Options.Rounds, goesOn);

            // Only the last row goes through the head.
            double operations = (2.0 * shape.LayerParameters * tokens) + (2.0 * (shape.MultipliedParameters - shape.LayerParameters))
                + shape.AttentionOperations(tokens * (tokens + 1.0) / 2);
            double rate = prefill.Median(Prefill(tokens));
            run.Record(shape.Name, Prefill(tokens), rate, "tokens/s", tokens * ceilings.OperationsPerSecond / operations, Rounds(prefill, Prefill(tokens)));
        }
    }

    private static string Rounds(Alternation measured, string name) =>
        string.Create(CultureInfo.InvariantCulture, $"median of {measured.Rounds}, best {measured.Best(name):F0}");
}
