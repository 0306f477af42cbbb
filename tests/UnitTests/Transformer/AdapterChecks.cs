using System.Text.Json;
using InferenceServer.AdapterStore;
using InferenceServer.Cpu;
using InferenceServer.Models.Merging;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using Xunit;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>Checks adapters alone, mixed, stacked and weighted against PEFT's own logits, unmerged and merged.</summary>
/// <param name="root">Folder of the golden data.</param>
/// <param name="createBackend">Makes the backend of the checks in f32; null for the CPU.</param>
internal sealed class AdapterChecks(string root, Func<IComputeBackend>? createBackend = null)
{
    private const double Bound = 2e-4;

    // Kinds whose change of the weight has full rank; refused by name.
    private static readonly string[] s_refused = ["LOHA", "LOKR"];

    // Products that round nothing but sums, so that what is seen is the fold. A weight folded in f32 is rounded no more than the base's own; one folded in bf16 is rounded once more, which costs about 2^-9 of
    // each weight: measured up to 9e-3 at the logits of the golden adapters.
    private const double MergedBound = 2e-3;
    private const double MergedBFloat16Bound = 2e-2;

    /// <summary>
    /// Over a bf16 base, a merged tenant's rows and everyone else's stay within 2e-3 of their unmerged logits when folded in f32 (the
    /// default), near them when folded in bf16, and return to them exactly.
    /// </summary>
    public void MergedInBFloat16(string folder)
    {
        using ExpectedTensors expected = new(folder);
        if (s_refused.Contains(expected.Case.GetProperty("peft_type").GetString()!))
        {
            return;
        }

        using GoldenModel golden = new(Resolve(expected.Case.GetProperty("base").GetString()!), WeightFormat.BF16, CpuProducts.Vectors);
        CheckMergedBesideOthers(golden, expected, folder, WeightFormat.F32, MergedBound);
        CheckMergedBesideOthers(golden, expected, folder, WeightFormat.BF16, MergedBFloat16Bound);
    }

    /// <summary>
    /// The same over quantised bases: what is folded is the base as it unpacks, so a merge moves logits no further than over a bf16 base.
    /// </summary>
    public void MergedInQuantized(string folder)
    {
        using ExpectedTensors expected = new(folder);
        if (s_refused.Contains(expected.Case.GetProperty("peft_type").GetString()!))
        {
            return;
        }

        foreach (WeightFormat weights in new[] { WeightFormat.Int8, WeightFormat.NF4 })
        {
            using GoldenModel golden = new(Resolve(expected.Case.GetProperty("base").GetString()!), weights, CpuProducts.Vectors);
            CheckMergedBesideOthers(golden, expected, folder, WeightFormat.F32, MergedBound);
            CheckMergedBesideOthers(golden, expected, folder, WeightFormat.BF16, MergedBFloat16Bound);
        }
    }

    private static void CheckMergedBesideOthers(GoldenModel golden, ExpectedTensors expected, string folder, WeightFormat format, double bound)
    {
        string neighbour = Path.Combine(Path.GetDirectoryName(folder)!, "lora_qv_r4");
        LoraEntry[] others = Directory.Exists(neighbour) ? [new LoraEntry(golden.Adapter(neighbour), 1f)] : [];
        using FoldedAdapter folded = golden.Model.Fold(golden.Import(folder), format);
        using DeviceAdapter residual = golden.OnDevice(folded.Residual);
        using DeviceAdapter inverse = golden.OnDevice(folded.Inverse);
        LoraEntry[] restore = [new LoraEntry(inverse, 1f)];
        int[] prompt = expected.Ints("seq0.input_ids");
        HarnessSequence[] unmerged =
        [
            new HarnessSequence(prompt, new LoraEntry(golden.Adapter(folder), 1f)),
            new HarnessSequence(prompt, others),
            new HarnessSequence(prompt),
        ];
        HarnessSequence[] merged =
        [
            new HarnessSequence(prompt, new LoraEntry(residual, 1f)),
            new HarnessSequence(prompt, others, restore),
            new HarnessSequence(prompt, [], restore),
        ];
        float[][] before = golden.Harness.Logits(unmerged);

        golden.Model.Install(folded);
        float[][] during = golden.Harness.Logits(merged);
        golden.Model.RemoveFolded();
        float[][] after = golden.Harness.Logits(unmerged);

        for (int i = 0; i < before.Length; i++)
        {
            Tolerance.AssertClose(before[i], during[i], bound, $"folded in {format}, row {i} (0 merged tenant, 1 other tenant, 2 base)");
            Assert.Equal(before[i], after[i]);
        }
    }

    /// <summary>Over a bf16 base with the products that are served, logits stay within 2e-2 of PEFT's f32 ones, and so do the tokens.</summary>
    public void InBFloat16(string folder)
    {
        using ExpectedTensors expected = new(folder);
        if (s_refused.Contains(expected.Case.GetProperty("peft_type").GetString()!))
        {
            return;
        }

        using GoldenModel golden = new(Resolve(expected.Case.GetProperty("base").GetString()!), WeightFormat.BF16);
        LoraEntry[] stack = [new LoraEntry(golden.Adapter(folder), 1f)];
        for (int i = 0; i < expected.Count("seq"); i++)
        {
            ServedChecks.AssertWithin(
                ServedChecks.BFloat16Bound, golden, expected.Ints($"seq{i}.input_ids"), stack, expected.Floats($"seq{i}.logits"), $"sequence {i}");
        }
    }

    private string Resolve(string relative) => Path.Combine(root, "fixtures", relative);

    public void Adapter(string folder)
    {
        using ExpectedTensors expected = new(folder);
        using GoldenModel golden = Open(expected);
        string type = expected.Case.GetProperty("peft_type").GetString()!;
        if (s_refused.Contains(type))
        {
            AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => golden.Import(folder));
            Assert.Contains(type, error.Message, StringComparison.OrdinalIgnoreCase);
            return;
        }

        CheckSequences(golden, expected, [new LoraEntry(golden.Adapter(folder), 1f)], "logits");
        CheckMerged(golden, expected, folder);
    }

    private static void CheckMerged(GoldenModel golden, ExpectedTensors expected, string folder)
    {
        AdapterWeights weights = golden.Import(folder);
        using FoldedAdapter folded = golden.Model.Fold(weights);
        using DeviceAdapter residual = golden.OnDevice(folded.Residual);
        using DeviceAdapter inverse = golden.OnDevice(folded.Inverse);
        HarnessSequence[] baseRows = Sequences(expected, []);
        float[][] before = golden.Harness.Logits(baseRows);

        golden.Model.Install(folded);
        // PEFT cannot merge an adapter's own bias into a layer without one; there the unmerged logits are what merging must give.
        CheckSequences(golden, expected, [new LoraEntry(residual, 1f)], expected.Has("seq0.logits_merged") ? "logits_merged" : "logits");
        float[][] restored = golden.Harness.Logits([.. baseRows.Select(row => row with { Restore = [new LoraEntry(inverse, 1f)] })]);
        golden.Model.RemoveFolded();
        float[][] after = golden.Harness.Logits(baseRows);

        for (int i = 0; i < before.Length; i++)
        {
            Tolerance.AssertClose(before[i], restored[i], Bound, $"base row {i} while merged");
            Assert.Equal(before[i], after[i]);
        }
    }

    public void Mixed(string folder)
    {
        using ExpectedTensors expected = new(folder);
        using GoldenModel golden = Open(expected);
        string[] rows = [.. expected.Case.GetProperty("rows").EnumerateArray().Select(row => row.GetString()!)];
        HarnessSequence[] batch = [.. rows.Select((row, i) => new HarnessSequence(
            expected.Ints($"row{i}.input_ids"),
            row == "__base__" ? [] : [new LoraEntry(golden.Adapter(Resolve(row)), 1f)]))];
        Assert.NotEmpty(batch);

        float[][] together = golden.Harness.Logits(batch);
        int[][] greedy = golden.Harness.Greedy(batch, expected.Ints("row0.greedy").Length);

        for (int i = 0; i < batch.Length; i++)
        {
            Tolerance.AssertClose(expected.Floats($"row{i}.logits"), together[i], Bound, $"row {i} ({rows[i]})");
            Assert.Equal(expected.Ints($"row{i}.greedy"), greedy[i]);
            Assert.Equal(golden.Harness.Logits([batch[i]])[0], together[i]);
        }
    }

    public void Stacked(string folder)
    {
        using ExpectedTensors expected = new(folder);
        using GoldenModel golden = Open(expected);
        LoraEntry[] stack = [.. expected.Case.GetProperty("active_adapters").EnumerateArray()
            .Select(name => new LoraEntry(golden.Adapter(Resolve(name.GetString()!)), 1f))];
        CheckSequences(golden, expected, stack, "logits");
    }

    public void Weighted(string folder)
    {
        using ExpectedTensors expected = new(folder);
        using GoldenModel golden = Open(expected);
        CheckSequences(golden, expected, [new LoraEntry(golden.Adapter(folder), 1f)], "logits");

        // "cat" is what a request's own weights mean: the same logits without making a new adapter.
        JsonElement recipe = expected.Case.GetProperty("add_weighted_adapter");
        if (recipe.GetProperty("combination_type").GetString() == "cat")
        {
            float[] weights = [.. recipe.GetProperty("weights").EnumerateArray().Select(weight => weight.GetSingle())];
            LoraEntry[] stack = [.. expected.Case.GetProperty("adapters").EnumerateArray()
                .Select((name, i) => new LoraEntry(golden.Adapter(Resolve(name.GetString()!)), weights[i]))];
            CheckSequences(golden, expected, stack, "logits");
        }
    }

    private GoldenModel Open(ExpectedTensors expected)
    {
        string folder = Resolve(expected.Case.GetProperty("base").GetString()!);
        return createBackend is null ? new GoldenModel(folder) : new GoldenModel(folder, createBackend());
    }

    private static HarnessSequence[] Sequences(ExpectedTensors expected, IReadOnlyList<LoraEntry> stack) =>
        [.. Enumerable.Range(0, expected.Count("seq")).Select(i => new HarnessSequence(expected.Ints($"seq{i}.input_ids"), stack))];

    private static void CheckSequences(GoldenModel golden, ExpectedTensors expected, IReadOnlyList<LoraEntry> stack, string tensor)
    {
        HarnessSequence[] batch = Sequences(expected, stack);
        Assert.NotEmpty(batch);
        float[][] logits = golden.Harness.Logits(batch);
        int[][] greedy = golden.Harness.Greedy(batch, expected.Ints("seq0.greedy").Length);
        for (int i = 0; i < batch.Length; i++)
        {
            Tolerance.AssertClose(expected.Floats($"seq{i}.{tensor}"), logits[i], Bound, $"{tensor} of sequence {i}");
            Assert.Equal(expected.Ints($"seq{i}.greedy"), greedy[i]);
        }
    }
}
