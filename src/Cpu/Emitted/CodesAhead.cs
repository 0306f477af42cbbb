namespace InferenceServer.Cpu.Emitted;

/// <summary>What a kernel asks of the memory while it multiplies: as many codes as it reads itself, wherever the arguments say.</summary>
internal enum CodesAhead
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Codes for the first-level cache, read soon.</summary>
    Near,

    /// <summary>Codes for the second-level cache, read once other rows have passed over those that are there.</summary>
    Far,
}
