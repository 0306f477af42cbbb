namespace InferenceServer.Tensors;

/// <summary>Element types of tensors in files and on devices.</summary>
public enum DType
{
    F32,
    F16,
    BF16,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
}
