using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace InferenceServer.Benchmarks.Training;

/// <summary>One side in a process of its own: it trains when told to, so that the sides take turns, and knows its own peak of memory.</summary>
internal sealed class TrainingProcess : IDisposable
{
    private readonly Process _process;
    private readonly List<double> _seconds = [];
    private readonly List<double> _processorSeconds = [];
    private int _stepsPerSlice = 1;

    public TrainingProcess(string name, string program, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string> environment)
    {
        Name = name;
        ProcessStartInfo start = new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach ((string variable, string value) in environment)
        {
            start.Environment[variable] = value;
        }

        _process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
        Ready = Answer();
    }

    public string Name { get; }

    /// <summary>What it said when it was ready to train.</summary>
    public JsonNode Ready { get; }

    /// <summary>Seconds of a step, one number for each slice.</summary>
    public IReadOnlyList<double> Seconds => _seconds;

    /// <summary>Seconds of processor time of a step, all threads together, one number for each slice.</summary>
    public IReadOnlyList<double> ProcessorSeconds => _processorSeconds;

    /// <summary>Peak of resident memory in bytes; after <see cref="Quit"/>.</summary>
    public long PeakBytes { get; private set; }

    /// <summary>Bytes that training itself says it held at most; 0 when it does not say.</summary>
    public long HeldBytes { get; private set; }

    /// <summary>Trains one step; returns its loss. A later slice takes about the time given.</summary>
    public double StepOnce(double sliceSeconds)
    {
        JsonNode answer = Ask("step 1");
        _stepsPerSlice = Math.Max(1, (int)(sliceSeconds / (double)answer["seconds"]!));
        return (double)answer["loss"]!;
    }

    /// <summary>Trains one slice and records it.</summary>
    public void RunSlice()
    {
        JsonNode answer = Ask(string.Create(CultureInfo.InvariantCulture, $"step {_stepsPerSlice}"));
        _seconds.Add((double)answer["seconds"]! / _stepsPerSlice);
        _processorSeconds.Add((double)answer["cpu"]! / _stepsPerSlice);
    }

    public void Quit()
    {
        JsonNode answer = Ask("quit");
        PeakBytes = (long)answer["peak"]!;
        HeldBytes = (long?)answer["held"] ?? 0;
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.Dispose();
    }

    private JsonNode Ask(string command)
    {
        _process.StandardInput.WriteLine(command);
        _process.StandardInput.Flush();
        return Answer();
    }

    private JsonNode Answer() => JsonNode.Parse(
        _process.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"{Name} ended; its own message is above"))!;
}
