using InferenceServer.Tensors;

namespace InferenceServer.Models.PackedWeights;

/// <summary>Writes packed weights beside the serving, on a thread of its own; disposing gives up and waits.</summary>
internal sealed class PackedSave : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Thread _thread;

    public PackedSave(PackedWeightCache cache, string path, string key, IPackedWeightBackend backend, IReadOnlyList<WeightMatrix> matrices, Func<bool> isCurrent)
    {
        _thread = new Thread(() => cache.Save(path, key, backend, matrices, isCurrent, _stop.Token)) { IsBackground = true, Name = "packed weights" };
        _thread.Start();
    }

    /// <summary>Whether the writing was asked to give up.</summary>
    public bool IsStopping => _stop.IsCancellationRequested;

    /// <summary>Waits for the end of the writing.</summary>
    public void Join() => _thread.Join();

    public void Dispose()
    {
        _stop.Cancel();
        _thread.Join();
        _stop.Dispose();
    }
}
