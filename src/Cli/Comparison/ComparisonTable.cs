namespace InferenceServer.Cli.Comparison;

/// <summary>The measured rows, and what a difference between two of them must be to count.</summary>
internal sealed class ComparisonTable
{
    // Below this nobody would call two losses different, whatever the seeds say.
    private const double SmallestMargin = 0.01;

    // How far above LoRA's best loss the loss is whose steps are counted, when nobody says: near enough to mean "learnt", and LoRA gets
    // there before its last step.
    private const double TargetOverReference = 1.1;

    /// <param name="rows">All contenders.</param>
    /// <param name="repeats">The reference with other seeds.</param>
    /// <param name="rank">The common rank.</param>
    /// <param name="targetLoss">The loss whose steps are counted; null for 1.1 times LoRA's best.</param>
    public ComparisonTable(IReadOnlyList<TunedContender> rows, IReadOnlyList<Trial> repeats, int rank, double? targetLoss)
    {
        Rows = rows;
        Repeats = repeats;
        Rank = rank;
        TunedContender? reference = Find("lora", rank);
        TargetLoss = targetLoss ?? (reference is null ? null : TargetOverReference * reference.Best.BestLoss);
        if (reference is not null)
        {
            double loss = reference.Best.BestLoss;
            double[] spread = [.. repeats.Where(trial => trial.Succeeded).Select(trial => Math.Abs(trial.BestLoss - loss) / loss)];
            Margin = spread.Append(SmallestMargin).Max();
        }
    }

    public IReadOnlyList<TunedContender> Rows { get; }

    public IReadOnlyList<Trial> Repeats { get; }

    /// <summary>The common rank.</summary>
    public int Rank { get; }

    /// <summary>The loss whose steps are counted; null when there is none.</summary>
    public double? TargetLoss { get; }

    /// <summary>Relative difference of losses up to which two count as equal: what a seed alone changes, at least 1 %.</summary>
    public double Margin { get; } = SmallestMargin;

    /// <summary>The rows of a method that succeeded, by rank.</summary>
    public IReadOnlyList<TunedContender> Of(string method) =>
        [.. Rows.Where(row => row.Contender.Method.Name == method && row.Best.Succeeded).OrderBy(row => row.Contender.Rank)];

    /// <summary>The row of a method at a rank, if it succeeded.</summary>
    public TunedContender? Find(string method, int rank) => Of(method).FirstOrDefault(row => row.Contender.Rank == rank);

    /// <summary>Whether a loss is lower by more than a seed would make it.</summary>
    public bool IsLower(double loss, double than) => loss < than * (1 - Margin);
}
