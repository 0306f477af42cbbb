using System.Diagnostics.CodeAnalysis;

namespace InferenceServer.Tensors;

/// <summary>Sizes and safetensors names of the element types.</summary>
public static class DTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int ByteSize(this DType type) => type switch
    {
        DType.F64 or DType.I64 or DType.U64 => 8,
        DType.F32 or DType.I32 or DType.U32 => 4,
        DType.F16 or DType.BF16 or DType.I16 or DType.U16 => 2,
        DType.I8 or DType.U8 or DType.Bool => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not an element type"),
    };

    /// <summary>Whether the elements are floating-point numbers that a weight may be stored in (F32, F16, BF16).</summary>
    public static bool IsWeight(this DType type) => type is DType.F32 or DType.F16 or DType.BF16;

    /// <summary>Reads a safetensors dtype name such as <c>BF16</c>.</summary>
    public static bool TryParse(string? name, [NotNullWhen(true)] out DType? type)
    {
        type = name switch
        {
            "F32" => DType.F32,
            "F16" => DType.F16,
            "BF16" => DType.BF16,
            "F64" => DType.F64,
            "I8" => DType.I8,
            "U8" => DType.U8,
            "I16" => DType.I16,
            "U16" => DType.U16,
            "I32" => DType.I32,
            "U32" => DType.U32,
            "I64" => DType.I64,
            "U64" => DType.U64,
            "BOOL" => DType.Bool,
            _ => null,
        };
        return type is not null;
    }
}
