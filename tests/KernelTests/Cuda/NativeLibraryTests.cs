using InferenceServer.Cuda.Interop;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Which of several CUDAs on a machine is used.</summary>
public sealed class NativeLibraryTests
{
    [Fact]
    public void The_newest_library_that_the_driver_knows_comes_first_and_newer_ones_do_not_come()
    {
        Assert.Equal(["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"], NativeLibraries.FilesOf(NativeLibraries.Nvrtc, 13));
        Assert.Equal(["libnvrtc.so.12", "libnvrtc.so.11.2"], NativeLibraries.FilesOf(NativeLibraries.Nvrtc, 12));
        Assert.Equal(["libcublasLt.so.11"], NativeLibraries.FilesOf(NativeLibraries.CublasLt, 11));
        Assert.Equal(["libcuda.so.1", "libcuda.so"], NativeLibraries.FilesOf(NativeLibraries.Driver, 11));
    }
}
