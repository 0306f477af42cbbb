using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Addresses of up to six rows from three registers: the first row, the fourth, and the stride.</summary>
internal readonly struct RowPointers
{
    /// <summary>Most rows.</summary>
    public const int MaxRows = 6;

    private readonly AssemblerRegister64 _first;
    private readonly AssemblerRegister64 _fourth;
    private readonly AssemblerRegister64 _stride;

    public RowPointers(AssemblerRegister64 first, AssemblerRegister64 fourth, AssemblerRegister64 stride)
    {
        _first = first;
        _fourth = fourth;
        _stride = stride;
    }

    /// <summary>Loads the registers from fields of the arguments.</summary>
    public void Load(Assembler c, AssemblerRegister64 arguments, int firstField, int strideField)
    {
        c.mov(_first, __[arguments + firstField]);
        c.mov(_stride, __[arguments + strideField]);
        c.lea(_fourth, __[_stride + (_stride * 2)]);
        c.add(_fourth, _first);
    }

    /// <summary>A place in a row.</summary>
    public AssemblerMemoryOperand At(int row, int offset) => At(__, row, offset);

    /// <summary>The 32 bits of a place in a row.</summary>
    public AssemblerMemoryOperand Double(int row, int offset) => At(__dword_ptr, row, offset);

    /// <summary>The same, for every lane.</summary>
    public AssemblerMemoryOperand ForLanes(int row, int offset) => At(__dword_bcst, row, offset);

    /// <summary>Moves on in every row.</summary>
    public void Advance(Assembler c, int bytes)
    {
        c.add(_first, bytes);
        c.add(_fourth, bytes);
    }

    private AssemblerMemoryOperand At(AssemblerMemoryOperandFactory size, int row, int offset)
    {
        AssemblerRegister64 start = row < 3 ? _first : _fourth;
        return (row % 3) switch
        {
            0 => size[start + offset],
            1 => size[start + _stride + offset],
            _ => size[start + (_stride * 2) + offset],
        };
    }
}
