namespace InferenceServer.TestKit.Cuda;

/// <summary>Calls that can be made to fail.</summary>
public enum DriverCall
{
    Launch,
    Copy,
    Allocate,
    Synchronize,
    GraphLaunch,
    MatMul,
    PinnedAllocate,
    ModuleLoad,
}
