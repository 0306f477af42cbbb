using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Import;

/// <summary>Turns the tensors of one method on one targeted module into the run-time form; first checks, then reads.</summary>
internal abstract class DeltaReader
{
    /// <summary>Checks names and shapes, without reading data; marks the tensors as accounted for.</summary>
    /// <returns>Host bytes of what <see cref="Build"/> will make.</returns>
    public abstract long Check(ModuleTensors module);

    /// <summary>Reads the data, checks the values and folds every factor in.</summary>
    public abstract LowRankDelta Build(ModuleTensors module);

    /// <summary>Rank that a module will have.</summary>
    public abstract int RankOf(ModuleTensors module);

    protected static void RequireLinear(ModuleTensors tensors, string method)
    {
        if (tensors.Module.Kind is not (ModuleKind.Linear or ModuleKind.Conv1D))
        {
            throw new AdapterFormatException(
                ConfigFields.FileName,
                "target_modules",
                $"linear modules for {method}",
                $"'{tensors.Module.Path}', which is a {tensors.Module.Kind}");
        }
    }

    protected static long FloatBytes(params ReadOnlySpan<long> counts)
    {
        long sum = 0;
        foreach (long count in counts)
        {
            sum += count * sizeof(float);
        }

        return sum;
    }
}
