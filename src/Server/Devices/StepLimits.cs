namespace InferenceServer.Server.Devices;

/// <summary>How much a step holds where nobody has said.</summary>
/// <param name="BatchTokens">Most tokens of one step.</param>
/// <param name="RunningSequences">Most sequences that run at once.</param>
public readonly record struct StepLimits(int BatchTokens, int RunningSequences)
{
    /// <summary>For a processor: the defaults of the scheduler's options.</summary>
    public static StepLimits OfProcessor { get; } = new(512, 64);

    // The memory of a step's activations is then about a hundredth of the device's for models that it can hold: 200 KB a token for one of 8 B.
    private const long BytesPerToken = 8 << 20;
    private const int MostTokens = 8192;

    // So many rows of decodes leave most of a long step to prompts.
    private const int TokensPerSequence = 32;
    private const int MostSequences = 256;

    /// <summary>
    /// For a GPU, which needs thousands of rows to be busy with its arithmetic: a token for each 8 MiB of memory, up to 8192 (a fifth of a second for 8 B
    /// parameters on an H200), and a sequence for each 32 tokens, up to 256; never less than a processor's.
    /// </summary>
    /// <param name="freeBytes">Memory before anything is loaded.</param>
    public static StepLimits OfDevice(long freeBytes)
    {
        long tokens = Math.Clamp(freeBytes / BytesPerToken, OfProcessor.BatchTokens, MostTokens);
        int rounded = 1 << System.Numerics.BitOperations.Log2((ulong)tokens);
        return new StepLimits(rounded, Math.Clamp(rounded / TokensPerSequence, OfProcessor.RunningSequences, MostSequences));
    }
}
