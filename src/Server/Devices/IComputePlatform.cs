using InferenceServer.Tensors;

namespace InferenceServer.Server.Devices;

/// <summary>The machine that computes, chosen once at start. Made backends are disposed of by those who asked for them, before this.</summary>
public interface IComputePlatform : IDisposable
{
    /// <summary>The backend that serves.</summary>
    IComputeBackend Serving { get; }

    /// <summary>What suits the machine, for options that were not given.</summary>
    StepLimits DefaultLimits { get; }

    /// <summary>A backend beside the steps, over the same weights, for measuring what a merge does.</summary>
    IComputeBackend CreateProbe();

    /// <summary>A backend for training and evaluations, over the same weights, and its other half; dispose of that first.</summary>
    /// <param name="threads">Threads, where threads compute; 0 for one a core.</param>
    /// <param name="beforeOperation">Called before each operation on the thread that asks for it; may wait. Null for nothing.</param>
    (IComputeBackend Backend, ITrainingBackend Operations) CreateTraining(int threads, Action? beforeOperation);
}
