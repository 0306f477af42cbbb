using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Training;

/// <summary><c>old + factor * first</c>.</summary>
internal readonly struct AddScaledOperator<TSimd, TVector>(float factor) : IElementOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector first, TVector second, TVector third, TVector old) =>
        TSimd.MultiplyAdd(TSimd.Broadcast(factor), first, old);
}

/// <summary><c>first * second</c>, or added to the old value.</summary>
internal readonly struct ProductOperator<TSimd, TVector>(bool add) : IElementOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector first, TVector second, TVector third, TVector old) =>
        add ? TSimd.MultiplyAdd(first, second, old) : TSimd.Multiply(first, second);
}

/// <summary><c>old * (1 - (first / cap)^2)</c>: through <c>y = cap tanh(x / cap)</c>, whose derivative is <c>1 - tanh^2</c>.</summary>
internal readonly struct SoftCapBackwardOperator<TSimd, TVector>(float cap) : IElementOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector first, TVector second, TVector third, TVector old)
    {
        TVector tanh = TSimd.Divide(first, TSimd.Broadcast(cap));
        return TSimd.Multiply(old, TSimd.Subtract(TSimd.Broadcast(1f), TSimd.Multiply(tanh, tanh)));
    }
}

/// <summary>Which gradient an <see cref="ActivationBackwardOperator{TSimd, TVector}"/> makes.</summary>
internal enum ActivationGradient
{
    /// <summary>In place: <c>old * act'(first)</c>.</summary>
    Plain,

    /// <summary>Of the gate: <c>old + second * third * act'(first)</c>; second is dy, third the value that is gated.</summary>
    Gate,

    /// <summary>Of the gated value: <c>old + second * act(first)</c>; second is dy.</summary>
    Gated,
}

/// <summary>Through <c>act(x)</c>; x is the first argument.</summary>
internal readonly struct ActivationBackwardOperator<TSimd, TVector>(Activation activation, ActivationGradient gradient)
    : IElementOperator<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Invoke(TVector first, TVector second, TVector third, TVector old)
    {
        (TVector value, TVector slope) = activation switch
        {
            Activation.Silu => Silu(first),
            Activation.GeluTanh => GeluTanh(first),
            Activation.Gelu => Gelu(first),
            _ => Relu(first),
        };
        return gradient switch
        {
            ActivationGradient.Plain => TSimd.Multiply(old, slope),
            ActivationGradient.Gate => TSimd.MultiplyAdd(TSimd.Multiply(second, third), slope, old),
            _ => TSimd.MultiplyAdd(second, value, old),
        };
    }

    /// <summary><c>x s</c> with <c>s = 1 / (1 + e^-x)</c>; slope <c>s (1 + x (1 - s))</c>.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (TVector Value, TVector Slope) Silu(TVector x)
    {
        TVector one = TSimd.Broadcast(1f);
        TVector sigmoid = TSimd.Divide(one, TSimd.Add(one, VectorMath<TSimd, TVector>.Exp(TSimd.Subtract(TSimd.Zero, x))));
        TVector value = TSimd.Multiply(x, sigmoid);
        return (value, TSimd.MultiplyAdd(value, TSimd.Subtract(one, sigmoid), sigmoid));
    }

    /// <summary>
    /// <c>0.5 x (1 + t)</c>, <c>t = tanh(u)</c>, <c>u = c (x + 0.044715 x^3)</c>; slope <c>0.5 (1 + t) + 0.5 x (1 - t^2) u'</c>.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (TVector Value, TVector Slope) GeluTanh(TVector x)
    {
        const float C = 0.7978845608028654f;
        TVector one = TSimd.Broadcast(1f);
        TVector square = TSimd.Multiply(x, x);
        TVector inner = TSimd.Multiply(
            TSimd.Broadcast(C), TSimd.MultiplyAdd(TSimd.Broadcast(0.044715f), TSimd.Multiply(square, x), x));
        TVector tanh = VectorMath<TSimd, TVector>.Tanh(inner);
        TVector innerSlope = TSimd.Multiply(TSimd.Broadcast(C), TSimd.MultiplyAdd(TSimd.Broadcast(3 * 0.044715f), square, one));
        TVector half = TSimd.Multiply(TSimd.Broadcast(0.5f), TSimd.Add(one, tanh));
        TVector bend = TSimd.Multiply(TSimd.Subtract(one, TSimd.Multiply(tanh, tanh)), innerSlope);
        return (TSimd.Multiply(x, half), TSimd.MultiplyAdd(TSimd.Multiply(TSimd.Broadcast(0.5f), x), bend, half));
    }

    /// <summary><c>x F(x)</c> with the normal distribution F; slope <c>F(x) + x e^(-x^2 / 2) / sqrt(2 pi)</c>.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (TVector Value, TVector Slope) Gelu(TVector x)
    {
        TVector one = TSimd.Broadcast(1f);
        TVector erf = VectorMath<TSimd, TVector>.Erf(TSimd.Multiply(x, TSimd.Broadcast(0.7071067811865476f)));
        TVector half = TSimd.Multiply(TSimd.Broadcast(0.5f), TSimd.Add(one, erf));
        TVector density = TSimd.Multiply(
            TSimd.Broadcast(0.3989422804014327f),
            VectorMath<TSimd, TVector>.Exp(TSimd.Multiply(TSimd.Broadcast(-0.5f), TSimd.Multiply(x, x))));
        return (TSimd.Multiply(x, half), TSimd.MultiplyAdd(x, density, half));
    }

    /// <summary><c>max(x, 0)</c>; slope 1 above 0, else 0.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (TVector Value, TVector Slope) Relu(TVector x) =>
        (TSimd.Max(TSimd.Zero, x), TSimd.SelectLess(TSimd.Zero, x, TSimd.Broadcast(1f), TSimd.Zero));
}
