namespace InferenceServer.Cpu.Emitted;

/// <summary>What a kernel asks of the memory while it multiplies: codes, wherever the arguments say.</summary>
internal enum CodesAhead
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>As many codes as it reads, for the first-level cache, read soon.</summary>
    Near,

    /// <summary>Half as many, for the second-level cache, read once other rows have passed over those that are there.</summary>
    Far,
}
