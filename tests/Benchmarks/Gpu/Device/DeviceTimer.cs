using InferenceServer.Cuda.Devices;

namespace InferenceServer.Benchmarks.Gpu.Device;

/// <summary>Takes the device's own time of work on a stream.</summary>
internal sealed class DeviceTimer : IDisposable
{
    private readonly CudaEvent _start = new(isTimed: true);
    private readonly CudaEvent _end = new(isTimed: true);

    /// <summary>Seconds of work that is launched between two marks of the stream.</summary>
    public double Seconds(CudaStream stream, Action launch)
    {
        _start.Record(stream);
        launch();
        _end.Record(stream);
        _end.Synchronize();
        return _end.MillisecondsSince(_start) / 1e3;
    }

    public void Dispose()
    {
        _start.Dispose();
        _end.Dispose();
    }
}
