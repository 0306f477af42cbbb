using System.Runtime.InteropServices;

namespace InferenceServer.Server.Training.Interop;

/// <summary>What .NET's ThreadPriority does not do on Linux. See setpriority(2).</summary>
internal static class LinuxThread
{
    private const int OfProcess = 0;
    private const int CallingThread = 0;

    /// <summary>
    /// Sets the niceness of the calling thread; threads that it starts inherit it. Linux keeps niceness by thread, whatever the name of the
    /// call says. It cannot be taken back without privileges.
    /// </summary>
    /// <param name="niceness">From 0 to 19, the lowest priority.</param>
    /// <returns>Whether the system did it.</returns>
    public static bool TrySetNiceness(int niceness) => SetPriority(OfProcess, CallingThread, niceness) == 0;

    [DllImport("libc", EntryPoint = "setpriority")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SetPriority(int which, int who, int priority);
}
