using System.Globalization;
using System.Text;

namespace InferenceServer.Benchmarks.Training;

/// <summary>Writes what was measured as markdown.</summary>
internal sealed class TrainingReport
{
    private readonly StringBuilder _text = new();

    public TrainingReport(TrainingBenchmarkOptions options, string[] arguments)
    {
        _text.AppendLine("# Training steps beside torch").AppendLine();
        Line($"- {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC, {Machine.CpuModel()}, {Environment.ProcessorCount} cores, {options.Threads} threads each");
        Line($"- sequences of {TrainingCase.SequenceLength} tokens, all labelled; LoRA and DoRA of rank {TrainingCase.Rank} on all linear modules; AdamW; f32 base");
        Line($"- {options.Rounds} rounds after three checked steps; the sides take turns, each in a process of its own");
        Line($"- `dotnet run -c Release --project tests/Benchmarks -- training {string.Join(' ', arguments)}`");
        Line($"- processor time is that of the step with least, all threads together: what neighbours on the cores take is not in it");
        _text.AppendLine();
        _text.AppendLine("| case | side | best tokens/s | median | ours is faster (best) | median of rounds | processor s a step | theirs over ours | peak RSS MB | of it held by training MB | losses differ by | load |");
        _text.AppendLine("|---|---|---|---|---|---|---|---|---|---|---|---|");
    }

    public void Add(TrainingCase one, IReadOnlyList<TrainingProcess> sides, double difference, string loadBefore)
    {
        TrainingProcess ours = sides[0];
        foreach (TrainingProcess side in sides)
        {
            double best = one.Tokens / side.Seconds.Min();
            string ofBest = side == ours ? "" : Format(side.Seconds.Min() / ours.Seconds.Min(), "F2");
            string ofRounds = side == ours ? "" : Format(Statistics.Median(side.Seconds.Zip(ours.Seconds, (own, first) => own / first)), "F2");
            double processor = side.ProcessorSeconds.Min();
            string ofProcessor = side == ours ? "" : Format(processor / ours.ProcessorSeconds.Min(), "F2");
            string held = side.HeldBytes == 0 ? "" : Format(side.HeldBytes / 1e6, "F0");
            string about = side == ours ? string.Create(CultureInfo.InvariantCulture, $"{difference:g2} | {loadBefore}") : " | ";
            Line(
                $"| {one.Name} | {side.Name} | {best:F0} | {one.Tokens / Statistics.Median(side.Seconds):F0} | {ofBest} | {ofRounds} | {processor:F3} | {ofProcessor} | {side.PeakBytes / 1e6:F0} | {held} | {about} |");
        }
    }

    public override string ToString() => _text.ToString();

    private static string Format(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private void Line(FormattableString line) => _text.AppendLine(line.ToString(CultureInfo.InvariantCulture));
}
