namespace InferenceServer.Cuda.Launching;

/// <summary>
/// One kernel parameter: a device address, a 32-bit integer or a float. Little-endian, so that a 4-byte parameter reads the low half.
/// Kernels take nothing larger by value; structures lie in device memory.
/// </summary>
internal readonly record struct KernelArgument(ulong Bits)
{
    public static implicit operator KernelArgument(ulong address) => new(address);

    public static implicit operator KernelArgument(int value) => new((uint)value);

    public static implicit operator KernelArgument(uint value) => new(value);

    public static implicit operator KernelArgument(float value) => new(BitConverter.SingleToUInt32Bits(value));
}
