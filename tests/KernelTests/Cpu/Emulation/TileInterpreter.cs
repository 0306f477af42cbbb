using System.Runtime.InteropServices;
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
    private const int RowBytes = 64;

    private readonly Dictionary<ulong, Instruction> _code = [];
    private readonly Dictionary<Register, long> _registers = [];
    private readonly Stack<long> _stack = new();
    private readonly byte[] _tiles = new byte[Tiles * TileRows * RowBytes];
    private readonly byte[] _configuration;
    private bool _isZero;

    /// <param name="kernel">What to run.</param>
    /// <param name="configuration">The 64 bytes of ldtilecfg: bytes of a row from byte 16 on, rows from byte 48 on.</param>
    public TileInterpreter(Assembler kernel, byte[] configuration)
    {
        _configuration = configuration;
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
                _tiles.AsSpan(Start(instruction.Op0Register), TileRows * RowBytes).Clear();
                break;
            case Mnemonic.Tileloadd:
                Move(instruction, instruction.Op0Register, load: true);
                break;
            case Mnemonic.Tilestored:
                Move(instruction, instruction.Op1Register, load: false);
                break;
            case Mnemonic.Tdpbf16ps:
                MultiplyBFloat16(instruction);
                break;
            case Mnemonic.Tdpbssd:
                MultiplyBytes(instruction, isUnsigned: false);
                break;
            case Mnemonic.Tdpbsud:
                MultiplyBytes(instruction, isUnsigned: true);
                break;
            default:
                throw new NotSupportedException($"the interpreter does not know {instruction}");
        }
    }

    /// <summary>Per output two chains over the pairs, their sum, then the result: each step rounded to f32, subnormals taken and given as zeros.</summary>
    private void MultiplyBFloat16(in Instruction instruction)
    {
        CheckShapes(instruction);
        for (int row = 0; row < Rows(instruction.Op0Register); row++)
        {
            for (int column = 0; column < Columns(instruction.Op0Register); column++)
            {
                float first = 0;
                float second = 0;
                for (int pair = 0; pair < Columns(instruction.Op1Register); pair++)
                {
                    (float x0, float x1) = Pair(At<float>(instruction.Op1Register, row, pair));
                    (float w0, float w1) = Pair(At<float>(instruction.Op2Register, pair, column));
                    first = Normal(MathF.FusedMultiplyAdd(x0, w0, first));
                    second = Normal(MathF.FusedMultiplyAdd(x1, w1, second));
                }

                ref float sum = ref At<float>(instruction.Op0Register, row, column);
                sum = Normal(Normal(sum) + Normal(first + second));
            }
        }
    }

    /// <summary>Products of signed bytes, or of signed with unsigned ones, four to a sum of 32 bits, which wraps.</summary>
    private void MultiplyBytes(in Instruction instruction, bool isUnsigned)
    {
        CheckShapes(instruction);
        for (int row = 0; row < Rows(instruction.Op0Register); row++)
        {
            for (int column = 0; column < Columns(instruction.Op0Register); column++)
            {
                ref int sum = ref At<int>(instruction.Op0Register, row, column);
                for (int quad = 0; quad < Columns(instruction.Op1Register); quad++)
                {
                    int x = At<int>(instruction.Op1Register, row, quad);
                    int w = At<int>(instruction.Op2Register, quad, column);
                    for (int i = 0; i < sizeof(int); i++)
                    {
                        int weight = isUnsigned ? (byte)(w >> (8 * i)) : (sbyte)(w >> (8 * i));
                        sum = unchecked(sum + ((sbyte)(x >> (8 * i)) * weight));
                    }
                }
            }
        }
    }

    /// <summary>Shapes that do not fit each other fault on a processor.</summary>
    private void CheckShapes(in Instruction instruction)
    {
        if (Rows(instruction.Op1Register) != Rows(instruction.Op0Register)
            || Rows(instruction.Op2Register) != Columns(instruction.Op1Register)
            || Columns(instruction.Op2Register) != Columns(instruction.Op0Register))
        {
            throw new InvalidOperationException($"the tiles of {instruction} do not fit each other");
        }
    }

    private static (float First, float Second) Pair(float bits)
    {
        uint pair = BitConverter.SingleToUInt32Bits(bits);
        return (Normal(BFloat16.ToSingle((ushort)pair)), Normal(BFloat16.ToSingle((ushort)(pair >> 16))));
    }

    private static float Normal(float value) => float.IsSubnormal(value) ? MathF.CopySign(0, value) : value;

    private void Move(in Instruction instruction, Register tile, bool load)
    {
        long stride = Get(instruction.MemoryIndex) * instruction.MemoryIndexScale;
        byte* start = (byte*)(nint)(Get(instruction.MemoryBase) + (long)instruction.MemoryDisplacement64);
        int bytes = Columns(tile) * sizeof(float);
        if (load)
        {
            // What a load does not fill is zero.
            _tiles.AsSpan(Start(tile), TileRows * RowBytes).Clear();
        }

        for (int row = 0; row < Rows(tile); row++)
        {
            Span<byte> memory = new(start + (row * stride), bytes);
            Span<byte> own = _tiles.AsSpan(Start(tile) + (row * RowBytes), bytes);
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

    private ref T At<T>(Register tile, int row, int element)
        where T : unmanaged =>
        ref MemoryMarshal.Cast<byte, T>(_tiles.AsSpan(Start(tile) + (row * RowBytes), RowBytes))[element];

    private static int Start(Register tile) => (tile - Register.TMM0) * TileRows * RowBytes;

    private int Rows(Register tile) => _configuration[48 + (tile - Register.TMM0)];

    private int Columns(Register tile) => BitConverter.ToUInt16(_configuration, 16 + (2 * (tile - Register.TMM0))) / sizeof(float);

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
