using System.Globalization;

namespace InferenceServer.Benchmarks.Start;

/// <summary>
/// Starts the server as a program of its own again and again, until the first token of a request: where the time goes and how much memory
/// the process had at most. The first start of a fresh data folder packs the weights; those after it find them packed.
/// </summary>
internal static class StartBenchmark
{
    public const string Usage = "--model FOLDER [--weights bf16|int8|nf4|f32] [--starts N] [--tokens N] [--options \"--name value ...\"]";

    public static async Task RunAsync(string[] arguments)
    {
        string model = CommandLine.Option(arguments, "--model") ?? throw new ArgumentException("--model is missing");
        string weights = CommandLine.Option(arguments, "--weights") ?? "bf16";
        int starts = CommandLine.Number(arguments, "--starts", 4);
        int tokens = CommandLine.Number(arguments, "--tokens", 32, least: 2);
        string[] options = (CommandLine.Option(arguments, "--options") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        string data = Directory.CreateTempSubdirectory("start-").FullName;
        try
        {
            Console.WriteLine($"{Machine.CpuModel()}, {Environment.ProcessorCount} cores, load {Machine.LoadAverage()}");
            Console.WriteLine($"model {Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(model)))}, {weights}, seconds from the start of the process");
            Console.WriteLine("| start | log begins | model begins | ready | first token | peak MB | at the end: own MB | files MB | in huge pages MB | ms a token |");
            Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|");
            for (int i = 1; i <= starts; i++)
            {
                ServerStart start = await ServerStart.RunAsync(model, weights, data, tokens, options);
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"| {i} | {start.FirstLine:0.00} | {start.Loading:0.00} | {start.Ready:0.00} | {start.FirstToken:0.00} | {start.PeakMB} | {start.OwnMB} | {start.FileMB} | {start.HugeMB} | {start.MedianMilliseconds:0.0} |"));
                foreach (string line in start.Lines)
                {
                    Console.WriteLine($"    {line}");
                }
            }
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }
}
