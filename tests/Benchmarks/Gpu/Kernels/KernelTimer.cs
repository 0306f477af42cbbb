using System.Diagnostics;
using InferenceServer.Benchmarks.Gpu.Device;
using InferenceServer.Cuda;
using InferenceServer.Tensors;

namespace InferenceServer.Benchmarks.Gpu.Kernels;

/// <summary>
/// Times calls of an operation as the model makes them: those of a decoding step come as one graph, so that launching costs nothing. By the
/// device's clock; by the processor's where that is the device.
/// </summary>
internal sealed class KernelTimer(IComputeBackend backend) : IDisposable
{
    // The first time a step's launches are new, the second captures them.
    private const int WarmUps = 3;

    private readonly DeviceTimer? _device = backend is CudaBackend ? new DeviceTimer() : null;

    /// <summary>Median seconds of one call.</summary>
    /// <param name="measured">What to call.</param>
    /// <param name="calls">Calls in a step.</param>
    /// <param name="steps">Steps to time.</param>
    public double Seconds(KernelCase measured, int calls, int steps)
    {
        for (int i = 0; i < WarmUps; i++)
        {
            Once(measured, calls);
        }

        return Statistics.Median([.. Enumerable.Range(0, steps).Select(_ => Once(measured, calls) / calls)]);
    }

    public void Dispose() => _device?.Dispose();

    private double Once(KernelCase measured, int calls)
    {
        if (backend is CudaBackend cuda)
        {
            return _device!.Seconds(cuda.Context.Queue.Stream(), () =>
            {
                Launch(measured, calls);
                cuda.Context.Queue.Flush();
            });
        }

        long start = Stopwatch.GetTimestamp();
        Launch(measured, calls);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private void Launch(KernelCase measured, int calls)
    {
        backend.BeginStep(measured.Step);
        for (int i = 0; i < calls; i++)
        {
            measured.Call(i);
        }
    }
}
