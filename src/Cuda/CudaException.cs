namespace InferenceServer.Cuda;

/// <summary>A call of the driver, of NVRTC or of cuBLASLt failed.</summary>
public sealed class CudaException : Exception
{
    // Errors of the context: every later call on it fails too. cuda.h, CUresult: illegal address, launch timeout, assert, hardware stack
    // error, illegal instruction, misaligned address, invalid address space, invalid pc, launch failed, ECC, and a lost device.
    private static readonly int[] s_sticky = [46, 214, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999];

    public CudaException(int code, string message)
        : base(message) => Code = code;

    /// <summary>CUresult (or the library's own status).</summary>
    public int Code { get; }

    /// <summary>Whether the context is lost: no later call can succeed, and the process has to start again.</summary>
    public bool IsSticky => Array.IndexOf(s_sticky, Code) >= 0;
}
