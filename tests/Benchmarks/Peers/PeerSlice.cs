using System.Text.Json.Serialization;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>One measurement of one side; a line of slices.jsonl.</summary>
internal sealed record PeerSlice
{
    public required string Shape { get; init; }

    /// <summary>bf16, int8 or nf4: ours; the peer's is the one beside it.</summary>
    public required string Weights { get; init; }

    public required string Work { get; init; }

    public required PeerSide Side { get; init; }

    /// <summary>Number of the round in its run; the sides of a round were measured one after the other.</summary>
    public required int Round { get; init; }

    /// <summary>Tokens per second of each repetition in the slice.</summary>
    public required IReadOnlyList<double> TokensPerSecond { get; init; }

    /// <summary>Cores that other processes used meanwhile.</summary>
    public required double OtherCores { get; init; }

    public required string LoadAverage { get; init; }

    /// <summary>UTC.</summary>
    public required DateTime At { get; init; }

    /// <summary>The run's number in <see cref="PeerRun.Id"/>.</summary>
    public required string Run { get; init; }

    [JsonIgnore]
    public bool Counts => OtherCores < ProcessorUse.MaxOtherCores;
}
