using InferenceServer.Cuda;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.StandIns;

/// <summary>The stand-in finds mistakes that would go unseen, or crash, on a device.</summary>
[Collection(StandInCollection.Name)]
public sealed class FaultTests
{
    private const int IllegalAddress = 700;
    private const int LaunchFailed = 719;

    [StandInTheory]
    [InlineData("misaligned_load", LaunchFailed, "aligned to 16 bytes")]
    [InlineData("index_outside", LaunchFailed, "index 32 is outside of")]
    [InlineData("pointer_outside", LaunchFailed, "wrote outside of the shared array 's' of 128 bytes, at byte 128")]
    [InlineData("dynamic_outside", LaunchFailed, "wrote outside of the 128 bytes of dynamic shared memory")]
    [InlineData("divergent_barrier", LaunchFailed, "deadlock")]
    [InlineData("shuffle_outside_mask", LaunchFailed, "reads lane 16, which the mask 0000ffff leaves out")]
    [InlineData("wrong_mask", LaunchFailed, "with the mask 0000ffff, which leaves it out")]
    [InlineData("different_operations", LaunchFailed, "meet in different operations")]
    [InlineData("misaligned_copy", LaunchFailed, "not aligned")]
    [InlineData("far_outside", IllegalAddress, "of device memory of 512 bytes")]
    [InlineData("just_outside", IllegalAddress, "written behind the end of device memory of 508 bytes")]
    [InlineData("null_pointer", IllegalAddress, "where there is no allocation")]
    [InlineData("shift_too_far", LaunchFailed, "a shift of")]
    [InlineData("division_by_zero", LaunchFailed, "by zero")]
    [InlineData("both_kinds_of_shared", LaunchFailed, "and 49152 bytes of dynamic shared memory take a block over 49152 bytes")]
    [InlineData("too_much_shared", LaunchFailed, "takes static shared memory over 49152 bytes")]
    public void A_mistake_is_found_under_every_schedule_and_named(string kernel, int code, string message)
    {
        foreach (KernelSchedule schedule in Schedules.All)
        {
            using SampleKernels samples = new("faults.cu", kernel);
            StandIn.SetSchedule(schedule);
            ulong x = samples.Upload<float>(new float[256]), y = samples.Allocate(kernel == "just_outside" ? 508 : 512);

            CudaException thrown = ThrownBy(() =>
            {
                switch (kernel)
                {
                    case "misaligned_load":
                    case "misaligned_copy":
                        samples.Run(kernel, 1, 32, x, y);
                        break;
                    case "null_pointer":
                        samples.Run(kernel, 1, 32, 0ul, y);
                        break;
                    case "just_outside":
                        samples.Run(kernel, 1, 1, y, 127);
                        break;
                    case "shift_too_far":
                        samples.Run(kernel, 1, 32, y, 40);
                        break;
                    case "division_by_zero":
                        samples.Run(kernel, 1, 32, y, 0);
                        break;
                    case "both_kinds_of_shared":
                        samples.Launch(kernel, 1, 32, 48 * 1024, null, y);
                        samples.Stream.Synchronize();
                        break;
                    default:
                        samples.Launch(kernel, 1, kernel == "divergent_barrier" ? 64 : 32, 128, null, y);
                        samples.Stream.Synchronize();
                        break;
                }
            });

            Assert.Equal(code, thrown.Code);
            Assert.Contains(message, StandIn.LastError, StringComparison.Ordinal);
            Assert.Contains($"kernel {kernel}, ", StandIn.LastError, StringComparison.Ordinal);
        }
    }

    [StandInFact]
    public void A_background_copy_that_nobody_waits_for_is_found_where_it_is_late()
    {
        foreach (KernelSchedule schedule in (KernelSchedule[])[KernelSchedule.LaneOrder, KernelSchedule.GreedyBackward])
        {
            using SampleKernels samples = new("faults.cu", "copy_never_awaited");
            StandIn.SetSchedule(schedule);
            ulong x = samples.Upload<float>(new float[256]), y = samples.Allocate(512);

            ThrownBy(() => samples.Run("copy_never_awaited", 1, 32, x, y));

            Assert.Contains("has not waited for", StandIn.LastError, StringComparison.Ordinal);
        }
    }

    [StandInTheory]
    [InlineData("read_before_write")]
    [InlineData("write_before_read")]
    [InlineData("lockstep_assumed")]
    [InlineData("copy_over_read")]
    [InlineData("copy_without_barrier")]
    [InlineData("order_of_blocks")]
    public void A_race_gives_other_bits_under_some_schedule(string kernel)
    {
        HashSet<string> results = [];
        foreach (KernelSchedule schedule in Schedules.All)
        {
            using SampleKernels samples = new("races.cu", kernel);
            StandIn.SetSchedule(schedule);
            float[] counted = [.. Enumerable.Range(0, 1024).Select(i => (float)i)];
            ulong x = samples.Upload<float>(counted), y = samples.Upload<float>(new float[64]);
            if (kernel.StartsWith("copy", StringComparison.Ordinal))
            {
                samples.Run(kernel, 1, 64, x, y);
            }
            else
            {
                samples.Run(kernel, kernel == "order_of_blocks" ? 8 : 1, 64, y);
            }

            results.Add(string.Join(' ', samples.Download<float>(y, 64)));
        }

        Assert.True(results.Count > 1, $"{kernel} gave the same bits under all {Schedules.All.Count} schedules");
    }

    [StandInFact]
    public void More_threads_than_the_launch_bounds_are_refused()
    {
        using SampleKernels samples = new("faults.cu", "bounded");
        ulong y = samples.Allocate(512);

        samples.Run("bounded", 1, 64, y);

        Assert.Equal(701, ThrownBy(() => samples.Run("bounded", 1, 65, y)).Code);
    }

    /// <summary>The driver's error, within that of the lost device where it is sticky.</summary>
    private static CudaException ThrownBy(Action action)
    {
        Exception thrown = Assert.ThrowsAny<Exception>(action);
        return Assert.IsType<CudaException>(thrown as CudaException ?? thrown.InnerException);
    }
}
