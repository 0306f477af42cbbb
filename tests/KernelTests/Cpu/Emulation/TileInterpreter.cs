using Iced.Intel;
using InferenceServer.Tensors;

namespace InferenceServer.KernelTests.Cpu.Emulation;

/// <summary>
/// Runs assembled tile kernels instruction by instruction on the test's own memory, as Intel's Software Developer's Manual defines them, so
/// that they can be tested where the processor has no tiles. Knows the instructions that the kernels use and refuses others.
/// </summary>
internal sealed unsafe class TileInterpreter
{
    private const int Tiles = 8;
    private const int TileRows = 16;
    private const int RowFloats = 16;

    private readonly Dictionary<ulong, Instruction> _code = [];
    private readonly Dictionary<Register, long> _registers = [];
    private readonly Stack<long> _stack = new();
    private readonly float[] _tiles = new float[Tiles * TileRows * RowFloats];
    private bool _isZero;

    public TileInterpreter(Assembler kernel)
    {
        using MemoryStream stream = new();
        kernel.Assemble(new StreamCodeWriter(stream), 0);
        Decoder decoder = Decoder.Create(64, new ByteArrayCodeReader(stream.ToArray()), 0);
        while (decoder.IP < (ulong)stream.Length)
        {
            Instruction instruction = decoder.Decode();
            _code.Add(instruction.IP, instruction);
        }
    }

    /// <summary>Calls the kernel with an argument in rdi; the tiles keep what they hold between calls.</summary>
    public void Run(void* argument)
    {
        _registers[Register.RDI] = (nint)argument;
        ulong at = 0;
        while (true)
        {
            Instruction instruction = _code[at];
            at = instruction.NextIP;
            switch (instruction.Mnemonic)
            {
                case Mnemonic.Ret:
                    if (_stack.Count != 0)
                    {
                        throw new InvalidOperationException("the kernel returns with a stack that is not as it found it");
                    }

                    return;
                case Mnemonic.Jmp:
                    at = instruction.NearBranchTarget;
                    break;
                case Mnemonic.Je when _isZero:
                case Mnemonic.Jne when !_isZero:
                    at = instruction.NearBranchTarget;
                    break;
                case Mnemonic.Je or Mnemonic.Jne or Mnemonic.Nop or Mnemonic.Prefetcht0:
                    break;
                default:
                    Execute(instruction);
                    break;
            }
        }
    }

    private void Execute(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Mov:
                Set(instruction.Op0Register, Value(instruction, 1));
                break;
            case Mnemonic.Add:
                Set(instruction.Op0Register, Get(instruction.Op0Register) + Value(instruction, 1));
                break;
            case Mnemonic.Shl:
                Set(instruction.Op0Register, Get(instruction.Op0Register) << (int)Value(instruction, 1));
                break;
            case Mnemonic.Dec:
                Set(instruction.Op0Register, Get(instruction.Op0Register) - 1);
                _isZero = Get(instruction.Op0Register) == 0;
                break;
            case Mnemonic.Cmp:
                _isZero = Value(instruction, 0) == Value(instruction, 1);
                break;
            case Mnemonic.Push:
                _stack.Push(Get(instruction.Op0Register));
                break;
            case Mnemonic.Pop:
                Set(instruction.Op0Register, _stack.Pop());
                break;
            case Mnemonic.Tilezero:
                Tile(instruction.Op0Register).Clear();
                break;
            case Mnemonic.Tileloadd:
                Move(instruction, Tile(instruction.Op0Register), load: true);
                break;
            case Mnemonic.Tilestored:
                Move(instruction, Tile(instruction.Op1Register), load: false);
                break;
            case Mnemonic.Tdpbf16ps:
                Multiply(Tile(instruction.Op0Register), Tile(instruction.Op1Register), Tile(instruction.Op2Register));
                break;
            default:
                throw new NotSupportedException($"the interpreter does not know {instruction}");
        }
    }

    /// <summary>Per output two chains over the pairs, their sum, then the result: each step rounded to f32.</summary>
    private static void Multiply(Span<float> c, ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        for (int row = 0; row < TileRows; row++)
        {
            for (int column = 0; column < RowFloats; column++)
            {
                float first = 0;
                float second = 0;
                for (int pair = 0; pair < TileRows; pair++)
                {
                    (float x0, float x1) = Pair(a[(row * RowFloats) + pair]);
                    (float w0, float w1) = Pair(b[(pair * RowFloats) + column]);
                    first = MathF.FusedMultiplyAdd(x0, w0, first);
                    second = MathF.FusedMultiplyAdd(x1, w1, second);
                }

                c[(row * RowFloats) + column] += first + second;
            }
        }
    }

    private static (float First, float Second) Pair(float bits)
    {
        uint pair = BitConverter.SingleToUInt32Bits(bits);
        return (BFloat16.ToSingle((ushort)pair), BFloat16.ToSingle((ushort)(pair >> 16)));
    }

    private void Move(in Instruction instruction, Span<float> tile, bool load)
    {
        long stride = Get(instruction.MemoryIndex) * instruction.MemoryIndexScale;
        byte* start = (byte*)(nint)(Get(instruction.MemoryBase) + (long)instruction.MemoryDisplacement64);
        for (int row = 0; row < TileRows; row++)
        {
            Span<float> memory = new(start + (row * stride), RowFloats);
            Span<float> own = tile.Slice(row * RowFloats, RowFloats);
            if (load)
            {
                memory.CopyTo(own);
            }
            else
            {
                own.CopyTo(memory);
            }
        }
    }

    private Span<float> Tile(Register tile) => _tiles.AsSpan((tile - Register.TMM0) * TileRows * RowFloats, TileRows * RowFloats);

    private long Value(in Instruction instruction, int operand) => instruction.GetOpKind(operand) switch
    {
        OpKind.Register => Get(instruction.GetOpRegister(operand)),
        OpKind.Memory => *(long*)(nint)(Get(instruction.MemoryBase) + (long)instruction.MemoryDisplacement64),
        _ => (long)instruction.GetImmediate(operand),
    };

    private long Get(Register register) => _registers[register.GetFullRegister()];

    private void Set(Register register, long value) =>
        _registers[register.GetFullRegister()] = register.IsGPR32() ? (uint)value : value;
}
