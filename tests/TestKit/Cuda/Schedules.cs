using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.TestKit.Cuda;

/// <summary>Runs kernels under every schedule of the stand-in; on a device, which has its own, as often.</summary>
public static class Schedules
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<KernelSchedule> All { get; } = Enum.GetValues<KernelSchedule>();

    /// <summary>Runs something under every schedule; its results must have the same bits.</summary>
    /// <param name="run">Launches kernels and reads what they made.</param>
    /// <returns>The results.</returns>
    public static float[] SameBitsUnderAll(Func<float[]> run)
    {
        float[]? first = null;
        try
        {
            foreach (KernelSchedule schedule in All)
            {
                if (!CudaHardware.IsAsked)
                {
                    StandIn.SetSchedule(schedule);
                }

                float[] results = run();
                first ??= results;
                Closeness.AssertSameBits(first, results, $"schedule {schedule} against {All[0]}");
            }

            return first!;
        }
        finally
        {
            StandIn.Reset();
        }
    }
}
