using InferenceServer.Server.Training.Interop;

namespace InferenceServer.Server.Training;

/// <summary>The lowest priority that the system has for a thread that runs at all.</summary>
internal static class LowPriority
{
    /// <summary>For the calling thread and the threads that it starts from now on.</summary>
    public static void Enter()
    {
        if (!OperatingSystem.IsLinux() || !LinuxThread.TryLowerPriority())
        {
            Thread.CurrentThread.Priority = ThreadPriority.Lowest;
        }
    }
}
