using System.Globalization;
using System.Text;
using InferenceServer.Cpu;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>
/// Times the CPU backend's operations at the sizes of an 8-billion-parameter model's layers, beside the memory's read bandwidth in the
/// same run, and prints a markdown table.
/// </summary>
internal static class KernelBenchmark
{
    private const long BandwidthBytes = 512L << 20;
    private const long BandwidthSliceBytes = 32L << 20;

    public static void Run(string[] arguments)
    {
        int rounds = int.Parse(CommandLine.Option(arguments, "--rounds") ?? "60", CultureInfo.InvariantCulture);
        string? output = CommandLine.Option(arguments, "--output");
        string? only = CommandLine.Option(arguments, "--only");
        CpuProducts products = Enum.Parse<CpuProducts>(CommandLine.Option(arguments, "--products") ?? nameof(CpuProducts.Auto), ignoreCase: true);
        using CpuBackend backend = new(new CpuOptions { Products = products });
        using ReadBandwidth bandwidth = new(Environment.ProcessorCount, BandwidthBytes, BandwidthSliceBytes);
        Measurement ceiling = new("read bandwidth", BandwidthSliceBytes, 0, bandwidth.ReadSlice);
        List<Measurement> measurements = [ceiling];
        using MatMulCases matMul = new(backend);
        using AdapterCases adapters = new(backend);
        using LayerCases layers = new(backend);
        using AttentionCases attention = new(backend);
        measurements.AddRange(matMul.Measurements.Concat(adapters.Measurements).Concat(layers.Measurements).Concat(attention.Measurements)
            .Where(measurement => only is null || measurement.Name.Contains(only, StringComparison.OrdinalIgnoreCase)));

        foreach (Measurement measurement in measurements)
        {
            measurement.WarmUp();
        }

        string loadBefore = Machine.LoadAverage();
        for (int round = 0; round < rounds; round++)
        {
            foreach (Measurement measurement in measurements)
            {
                measurement.RunOnce();
            }
        }

        string report = Report(backend, measurements, ceiling, rounds, loadBefore, arguments);
        Console.Write(report);
        if (output is not null)
        {
            File.WriteAllText(output, report);
        }
    }

    private static string Report(
        CpuBackend backend, List<Measurement> measurements, Measurement ceiling, int rounds, string loadBefore, string[] arguments)
    {
        StringBuilder text = new();
        text.AppendLine("# CPU kernels").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"- {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC, {Machine.CpuModel()}, {Environment.ProcessorCount} cores");
        text.AppendLine(CultureInfo.InvariantCulture, $"- {backend.Description}");
        text.AppendLine(CultureInfo.InvariantCulture, $"- load average {loadBefore} before, {Machine.LoadAverage()} after; {rounds} slices each, in turn");
        text.AppendLine(
            CultureInfo.InvariantCulture, $"- `dotnet run -c Release --project tests/Benchmarks -- kernels {string.Join(' ', arguments)}`");
        text.AppendLine().AppendLine("| operation | best us | median us | GB/s best | of bandwidth | GFLOP/s best |");
        text.AppendLine("|---|---|---|---|---|---|");
        double bestBandwidth = ceiling.Bytes / ceiling.Best;
        foreach (Measurement measurement in measurements)
        {
            double bandwidth = measurement.Bytes / measurement.Best;
            string gigabytes = measurement.Bytes > 0 ? (bandwidth / 1e9).ToString("F1", CultureInfo.InvariantCulture) : "";
            string share = measurement.Bytes > 0 ? (bandwidth / bestBandwidth).ToString("P0", CultureInfo.InvariantCulture) : "";
            string flops = measurement.Operations > 0
                ? (measurement.Operations / measurement.Best / 1e9).ToString("F0", CultureInfo.InvariantCulture)
                : "";
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {measurement.Name} | {measurement.Best * 1e6:F1} | {measurement.Median * 1e6:F1} | {gigabytes} | {share} | {flops} |");
        }

        return text.ToString();
    }
}
