using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <summary>Where the cache gets adapters from: the catalog, or a stand-in.</summary>
public interface IAdapterSource
{
    /// <summary>What an adapter takes in memory; cheap.</summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    AdapterFootprint Measure(AdapterId id);

    /// <summary>Reads an adapter into host memory; may take long, called on a background thread.</summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    /// <exception cref="AdapterFormatException">Its files are damaged.</exception>
    AdapterWeights Load(AdapterId id, CancellationToken cancellation);

    /// <summary>
    /// The same for a device, which reads each matrix once: they may still be as the file stores them. <see cref="AdapterWeights.Release"/>
    /// gives their memory back.
    /// </summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    /// <exception cref="AdapterFormatException">Its files are damaged.</exception>
    AdapterWeights LoadForDevice(AdapterId id, CancellationToken cancellation) => Load(id, cancellation);
}
