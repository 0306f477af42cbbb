using System.ComponentModel.DataAnnotations;

namespace InferenceServer.Server.Training;

/// <summary>What training may take from the machine.</summary>
public sealed class TrainingServerOptions
{
    public const string SectionName = "Training";

    /// <summary>Whether jobs are taken and run. Default true; false keeps those that are there as they are.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>Threads that train, at the lowest priority; 0 (the default) for one a core: they give way to serving.</summary>
    [Range(0, 1024)]
    public int ThreadCount { get; set; }

    /// <summary>
    /// How far training gives way to others on the cores, as Linux counts: 0 not at all, 19 (the default) to everything. On a machine that
    /// other programs keep busy as well, 19 leaves training next to nothing.
    /// </summary>
    [Range(0, LowPriority.Lowest)]
    public int Niceness { get; set; } = LowPriority.Lowest;

    /// <summary>
    /// Seconds that training waits, at most, for each second that it computes while requests run: with 4 it keeps a fifth of what its
    /// priority leaves it. Default 0, the priority alone: where it was measured, waiting besides gained serving nothing.
    /// </summary>
    [Range(0, 1000)]
    public double PausePerWork { get; set; }

    /// <summary>Most jobs that wait or run. Default 16; each keeps its data set on disk.</summary>
    [Range(1, 10_000)]
    public int MaxJobs { get; set; } = 16;

    /// <summary>Largest data set in bytes. Default 64 MiB: about 16 million tokens, which take 128 MiB of memory while the job runs.</summary>
    [Range(1, long.MaxValue)]
    public long MaxDataBytes { get; set; } = 64L << 20;
}
