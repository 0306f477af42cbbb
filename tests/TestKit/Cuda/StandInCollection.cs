namespace InferenceServer.TestKit.Cuda;

/// <summary>The name of the xunit collection of tests that use the stand-in; its settings are the process's, so they run one by one.</summary>
public static class StandInCollection
{
    public const string Name = "CUDA stand-in";
}
