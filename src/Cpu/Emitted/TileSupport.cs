using InferenceServer.Cpu.Memory.Interop;

namespace InferenceServer.Cpu.Emitted;

/// <summary>The tiles of a machine, or why it has none.</summary>
/// <param name="Kernels">Null for none.</param>
/// <param name="Absence">What is wrong with the processor's tiles; null where they are used, and where it has none.</param>
internal sealed record TileSupport(ITileKernels? Kernels, string? Absence)
{
    private static readonly Lazy<TileSupport> s_own = new(() => Find(ProcessorInstructions.HasTiles, LinuxTiles.Request, TileKernels.Create));

    /// <summary>This machine's, looked for once.</summary>
    public static TileSupport Own => s_own.Value;

    /// <summary>Takes one step after another, each of which would fault without those before.</summary>
    /// <param name="processorHasThem">What the processor says.</param>
    /// <param name="request">Asks the system; 0 or its error.</param>
    /// <param name="create">Assembles the kernels; null where the system does not let new code run.</param>
    public static TileSupport Find(bool processorHasThem, Func<int> request, Func<ITileKernels?> create)
    {
        if (!processorHasThem)
        {
            return new TileSupport(null, null);
        }

        int error = request();
        if (error != 0)
        {
            return new TileSupport(null, $"the system refuses them, errno {error}");
        }

        ITileKernels? kernels = create();
        if (kernels is null)
        {
            return new TileSupport(null, "the system does not let new code run");
        }

        return TileCheck.Passes(kernels) && IntegerTileCheck.Passes(kernels)
            ? new TileSupport(kernels, null)
            : new TileSupport(null, "they failed their check");
    }
}
