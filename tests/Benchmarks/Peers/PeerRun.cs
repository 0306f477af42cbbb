using System.Globalization;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>One call of the benchmark and the machine it ran on; a line of runs.jsonl.</summary>
internal sealed record PeerRun
{
    /// <summary>Names the run in its slices.</summary>
    public required string Id { get; init; }

    public required string Command { get; init; }

    public required string Machine { get; init; }

    /// <summary>Extensions of the processor that matter here.</summary>
    public required string Extensions { get; init; }

    public required int Cores { get; init; }

    /// <summary>What the server says of its device.</summary>
    public required string Ours { get; init; }

    /// <summary>Said with --label.</summary>
    public required string Label { get; init; }

    /// <summary>llama.cpp's version and the library that it chose.</summary>
    public required string LlamaCpp { get; init; }

    /// <summary>How many greedy tokens of tenants are the same on both sides; empty when no tenants were served.</summary>
    public string Agreement { get; init; } = "";

    public static string NewId() => DateTime.UtcNow.ToString("yyyyMMdd'T'HHmmss", CultureInfo.InvariantCulture);
}
