using System.Runtime.CompilerServices;

namespace InferenceServer.Cpu.Simd;

/// <summary>
/// exp, 2^x, tanh and erf by lane, each within 2e-7 of the exact value (relative, absolute for erf). The polynomials are
/// Chebyshev interpolants of the function on the stated interval, evaluated by Horner's rule with fused multiply-adds.
/// </summary>
internal static class VectorMath<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    // Adding 1.5 * 2^23 pushes the fraction out of an f32: what stays in the low bits is the value rounded to the nearest integer.
    private const float RoundingMagic = 12582912f;

    // ln 2 in two parts: the first has few bits, so n * Ln2High is exact for every exponent n.
    private const float Ln2High = 0.693359375f;
    private const float Ln2Low = -2.12194440e-4f;

    /// <summary>e^x; 0 below -87.33 (the result would be subnormal), about 2.4e38 above 88.37; NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Exp(TVector x)
    {
        TVector bounded = TSimd.Max(TSimd.Broadcast(-87.33f), TSimd.Min(TSimd.Broadcast(88.37f), x));

        // x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^n e^r.
        TVector shifted = TSimd.MultiplyAdd(bounded, TSimd.Broadcast(1.44269504f), TSimd.Broadcast(RoundingMagic));
        TVector n = TSimd.Subtract(shifted, TSimd.Broadcast(RoundingMagic));
        TVector r = TSimd.MultiplyAdd(n, TSimd.Broadcast(-Ln2High), bounded);
        r = TSimd.MultiplyAdd(n, TSimd.Broadcast(-Ln2Low), r);

        // e^r = 1 + r + r^2 q(r).
        TVector q = TSimd.Broadcast(0.0013926926611474919f);
        q = TSimd.MultiplyAdd(q, r, TSimd.Broadcast(0.008363773874341238f));
        q = TSimd.MultiplyAdd(q, r, TSimd.Broadcast(0.04166655011033088f));
        q = TSimd.MultiplyAdd(q, r, TSimd.Broadcast(0.16666573381901423f));
        q = TSimd.MultiplyAdd(q, r, TSimd.Broadcast(0.5f));
        TVector power = TSimd.MultiplyAdd(TSimd.Multiply(r, r), q, r);
        power = TSimd.Add(power, TSimd.Broadcast(1f));

        // The low bits of n + magic + 127 are the biased exponent of 2^n; the shift drops the magic's own bits.
        TVector scale = TSimd.ShiftBitsToExponent(TSimd.Add(n, TSimd.Broadcast(RoundingMagic + 127f)));
        return TSimd.SelectLess(x, TSimd.Broadcast(-87.33f), TSimd.Zero, TSimd.Multiply(power, scale));
    }

    /// <summary>2^x for x up to 127; 0 below -126.5 (the result would be subnormal), 1 of 0 exactly; NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector PowerOfTwo(TVector x)
    {
        // x = n + f with |f| <= 1/2. The low bits of n + magic + 127 are the biased exponent of 2^n, which is that of 0 for the least n.
        TVector bounded = TSimd.Max(TSimd.Broadcast(-127f), x);
        TVector shifted = TSimd.Add(bounded, TSimd.Broadcast(RoundingMagic));
        TVector f = TSimd.Subtract(bounded, TSimd.Subtract(shifted, TSimd.Broadcast(RoundingMagic)));
        TVector scale = TSimd.ShiftBitsToExponent(TSimd.Add(shifted, TSimd.Broadcast(127f)));

        // 2^f = 1 + f p(f).
        TVector p = TSimd.Broadcast(0.00015453163359779865f);
        p = TSimd.MultiplyAdd(p, f, TSimd.Broadcast(0.0013390863314270973f));
        p = TSimd.MultiplyAdd(p, f, TSimd.Broadcast(0.009618083015084267f));
        p = TSimd.MultiplyAdd(p, f, TSimd.Broadcast(0.055503569543361664f));
        p = TSimd.MultiplyAdd(p, f, TSimd.Broadcast(0.24022650718688965f));
        p = TSimd.MultiplyAdd(p, f, TSimd.Broadcast(0.6931471824645996f));
        return TSimd.Multiply(TSimd.MultiplyAdd(p, f, TSimd.Broadcast(1f)), scale);
    }

    /// <summary>Hyperbolic tangent.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Tanh(TVector x)
    {
        TVector size = TSimd.Abs(x);

        // Near 0, where 1 - 2 / (e^2x + 1) would cancel: x + x u p(u) with u = x^2.
        TVector u = TSimd.Multiply(x, x);
        TVector p = TSimd.Broadcast(-0.006096714163085939f);
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(0.02099717899658084f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(-0.053850909577780416f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(0.13332769736968164f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(-0.33333328944133966f));
        TVector near = TSimd.MultiplyAdd(TSimd.Multiply(x, u), p, x);

        TVector squared = Exp(TSimd.Add(size, size));
        TVector far = TSimd.Subtract(
            TSimd.Broadcast(1f), TSimd.Divide(TSimd.Broadcast(2f), TSimd.Add(squared, TSimd.Broadcast(1f))));
        return TSimd.SelectLess(size, TSimd.Broadcast(0.625f), near, TSimd.CopySign(far, x));
    }

    /// <summary>The error function.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Erf(TVector x)
    {
        TVector size = TSimd.Abs(x);

        // |x| < 1: x p(x^2).
        TVector u = TSimd.Multiply(x, x);
        TVector p = TSimd.Broadcast(7.875875046790626e-05f);
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(-0.0008016864281817756f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(0.0051890874227800456f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(-0.026854212010276407f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(0.11283594715152363f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(-0.3761262666671963f));
        p = TSimd.MultiplyAdd(p, u, TSimd.Broadcast(1.1283791658483504f));
        TVector near = TSimd.Multiply(x, p);

        // 1 <= |x| <= 4: 1 - e^q(|x|), where q is the logarithm of erfc; beyond 4 erf is 1 in f32.
        TVector bounded = TSimd.Min(TSimd.Broadcast(4f), size);
        TVector q = TSimd.Broadcast(1.637151414507626e-06f);
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(-4.605804269674209e-05f));
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(0.0005968056258093786f));
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(-0.004759596294394465f));
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(0.026421136010195374f));
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(-0.11008008295930083f));
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(-0.6318260515451951f));
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(-1.130233434851918f));
        q = TSimd.MultiplyAdd(q, bounded, TSimd.Broadcast(0.0003201380525768016f));
        TVector far = TSimd.Subtract(TSimd.Broadcast(1f), Exp(q));
        return TSimd.SelectLess(size, TSimd.Broadcast(1f), near, TSimd.CopySign(far, x));
    }
}
