namespace InferenceServer.Cpu;

/// <summary>How the CPU backend uses the machine.</summary>
public sealed class CpuOptions
{
    /// <summary>Threads that compute, the caller's included; 0 (the default) for one a core that this process may use.</summary>
    public int ThreadCount { get; set; }

    /// <summary>
    /// Widest vectors to use: 512, 256, 128 bits, or 32 for plain floats; 0 (the default) for the widest that the processor accelerates.
    /// A narrower choice is for tests and for processors that slow down under wide vectors; a wider one than the processor has is an error.
    /// </summary>
    public int VectorBits { get; set; }

    /// <summary>
    /// Whether weights, keys and values and large activations ask Linux for pages of 2 MB. Default true: streaming weights then takes a
    /// translation for each 2 MB and not for each 4 KB. False is for comparison, and for systems that are short of memory in one piece.
    /// </summary>
    public bool HugePages { get; set; } = true;

    /// <summary>
    /// Whether weights that were kept packed on disk are used where they lie in the page cache, if they lie there in huge pages (or none
    /// are wanted). Default true: the start needs no memory of its own for them. False copies them, so that the system cannot drop them
    /// when memory is short.
    /// </summary>
    public bool MapWeights { get; set; } = true;

    /// <summary>
    /// How products are formed: Auto (the default), or one way forced, for tests and comparisons; a way that the processor lacks is an error.
    /// Dots need 512-bit vectors. Each way has bits of its own, and keeps them for any batch and any number of threads.
    /// </summary>
    public CpuProducts Products { get; set; }
}
