using Iced.Intel;
using InferenceServer.Cpu.Memory.Interop;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Assembled kernels in executable memory, until disposed.</summary>
internal sealed unsafe class EmittedCode : IDisposable
{
    private const int Alignment = 64;

    private readonly nuint _bytes;
    private byte* _memory;

    private EmittedCode(byte* memory, nuint bytes, nint[] entries)
    {
        _memory = memory;
        _bytes = bytes;
        Entries = entries;
    }

    ~EmittedCode() => Free();

    /// <summary>First byte of each kernel, in the order given.</summary>
    public nint[] Entries { get; }

    /// <summary>Assembles kernels; null where the system does not let new code run.</summary>
    public static EmittedCode? Assemble(IReadOnlyList<Assembler> kernels)
    {
        using MemoryStream code = new();
        StreamCodeWriter writer = new(code);
        nint[] offsets = new nint[kernels.Count];
        for (int i = 0; i < kernels.Count; i++)
        {
            code.SetLength((code.Length + Alignment - 1) / Alignment * Alignment);
            code.Position = code.Length;
            offsets[i] = (nint)code.Length;

            // Kernels only jump inside themselves, so that the address does not matter.
            kernels[i].Assemble(writer, (ulong)offsets[i]);
        }

        nuint bytes = (nuint)code.Length;
        byte* memory = LinuxExecutableMemory.Map(bytes);
        code.GetBuffer().AsSpan(0, (int)bytes).CopyTo(new Span<byte>(memory, (int)bytes));
        EmittedCode emitted = new(memory, bytes, Array.ConvertAll(offsets, offset => (nint)memory + offset));
        if (LinuxExecutableMemory.TryMakeExecutable(memory, bytes))
        {
            return emitted;
        }

        emitted.Dispose();
        return null;
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        if (_memory is not null)
        {
            LinuxExecutableMemory.Unmap(_memory, _bytes);
            _memory = null;
        }
    }
}
