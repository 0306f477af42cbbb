namespace InferenceServer.Benchmarks.Peers;

/// <summary>One kind of work and how each side does it: a function repeats it so many times and gives the tokens per second of each.</summary>
/// <param name="Work">Its name in the results.</param>
/// <param name="Ours">Our side.</param>
/// <param name="Theirs">llama.cpp.</param>
internal sealed record PeerContest(string Work, Func<int, Task<double[]>> Ours, Func<int, Task<double[]>> Theirs)
{
    /// <summary>The process that computes for llama.cpp; null when it starts one for each slice.</summary>
    public int? TheirProcess { get; init; }

    /// <summary>The machine's own limit; null where it is not measured.</summary>
    public Func<int, Task<double[]>>? Limit { get; init; }

    public IReadOnlyList<PeerSide> Sides => Limit is null ? [PeerSide.Ours, PeerSide.LlamaCpp] : [PeerSide.Ours, PeerSide.LlamaCpp, PeerSide.Memory];

    public Func<int, Task<double[]>> Of(PeerSide side) => side switch
    {
        PeerSide.Ours => Ours,
        PeerSide.LlamaCpp => Theirs,
        _ => Limit!,
    };
}
