using InferenceServer.Server.Training.Interop;

namespace InferenceServer.Server.Training;

/// <summary>A priority below that of serving, by default the lowest that the system has for a thread that runs at all.</summary>
internal static class LowPriority
{
    /// <summary>Linux's niceness that gives way to everything.</summary>
    public const int Lowest = 19;

    /// <summary>For the calling thread and the threads that it starts from now on.</summary>
    /// <param name="niceness">From 0, no lower priority than others, to <see cref="Lowest"/>; elsewhere than on Linux anything above 0 is the lowest.</param>
    public static void Enter(int niceness = Lowest)
    {
        if (niceness > 0 && (!OperatingSystem.IsLinux() || !LinuxThread.TrySetNiceness(niceness)))
        {
            Thread.CurrentThread.Priority = ThreadPriority.Lowest;
        }
    }
}
