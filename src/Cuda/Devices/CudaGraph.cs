using System.Runtime.InteropServices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Devices;

/// <summary>Captured launches, launched as one.</summary>
internal sealed class CudaGraph : SafeHandle
{
    /// <param name="graph">The captured graph; destroyed here.</param>
    public CudaGraph(nint graph)
        : base(0, ownsHandle: true)
    {
        try
        {
            CudaDriver.Check(CudaDriver.InstantiateGraph(out nint executable, graph, 0), "cuGraphInstantiate");
            SetHandle(executable);
        }
        finally
        {
            _ = CudaDriver.DestroyGraph(graph);
        }
    }

    public override bool IsInvalid => handle == 0;

    public void Launch(CudaStream stream) => CudaDriver.Check(CudaDriver.LaunchGraph(handle, stream.Pointer), "cuGraphLaunch");

    protected override bool ReleaseHandle() => CudaDriver.DestroyExecutableGraph(handle) == 0;
}
