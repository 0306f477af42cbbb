using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Kernels;

/// <summary><c>left + right</c>.</summary>
internal readonly struct AddOperator<TSimd, TVector> : IRowOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector left, TVector right) => TSimd.Add(left, right);
}

/// <summary><c>factor * left</c>.</summary>
internal readonly struct ScaleOperator<TSimd, TVector>(float factor) : IRowOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector left, TVector right) => TSimd.Multiply(TSimd.Broadcast(factor), left);
}

/// <summary><c>cap * tanh(left / cap)</c>.</summary>
internal readonly struct SoftCapOperator<TSimd, TVector>(float cap) : IRowOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector left, TVector right) =>
        TSimd.Multiply(TSimd.Broadcast(cap), VectorMath<TSimd, TVector>.Tanh(TSimd.Divide(left, TSimd.Broadcast(cap))));
}

/// <summary><c>left / (1 + e^-left)</c>, times right when gated; of its own because most models have it, and its loop calls nothing.</summary>
internal readonly struct SiluOperator<TSimd, TVector>(bool gated) : IRowOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector left, TVector right)
    {
        TVector exponential = VectorMath<TSimd, TVector>.Exp(TSimd.Subtract(TSimd.Zero, left));
        TVector value = TSimd.Divide(left, TSimd.Add(TSimd.Broadcast(1f), exponential));
        return gated ? TSimd.Multiply(value, right) : value;
    }
}

/// <summary><c>act(left)</c> of the other activations, times right when gated.</summary>
internal readonly struct ActivationOperator<TSimd, TVector>(Activation activation, bool gated) : IRowOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector left, TVector right)
    {
        // The choice is the same for the whole call: the processor predicts it, so it costs next to nothing beside exp.
        TVector value = activation switch
        {
            Activation.GeluTanh => GeluTanh(left),
            Activation.Gelu => Gelu(left),
            _ => TSimd.Max(TSimd.Zero, left),
        };
        return gated ? TSimd.Multiply(value, right) : value;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static TVector GeluTanh(TVector x)
    {
        TVector cube = TSimd.Multiply(TSimd.Multiply(x, x), x);
        TVector inner = TSimd.Multiply(
            TSimd.Broadcast(0.7978845608028654f), TSimd.MultiplyAdd(TSimd.Broadcast(0.044715f), cube, x));
        TVector tanh = VectorMath<TSimd, TVector>.Tanh(inner);
        return TSimd.Multiply(TSimd.Multiply(TSimd.Broadcast(0.5f), x), TSimd.Add(TSimd.Broadcast(1f), tanh));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static TVector Gelu(TVector x)
    {
        TVector erf = VectorMath<TSimd, TVector>.Erf(TSimd.Multiply(x, TSimd.Broadcast(0.7071067811865476f)));
        return TSimd.Multiply(TSimd.Multiply(TSimd.Broadcast(0.5f), x), TSimd.Add(TSimd.Broadcast(1f), erf));
    }
}
