namespace InferenceServer.Cpu.Simd;

/// <summary>
/// The few vector operations that the kernels are written in, so that one source serves every vector width. A "lane" is one f32 of the
/// vector; every operation works on all lanes at once and lanes never mix, except in <see cref="Sum"/> and <see cref="Largest"/>.
/// </summary>
/// <remarks>
/// Kernels are generic over the implementation (<c>Kernel&lt;Simd512, Vector512&lt;float&gt;&gt;</c>). For struct arguments the JIT
/// compiles each combination on its own and inlines these calls to single instructions. Sixteen is a multiple of every width, so
/// data padded to sixteen floats needs no tail code.
/// </remarks>
internal unsafe interface ISimd<TVector>
    where TVector : struct
{
    /// <summary>Lanes of a vector.</summary>
    static abstract int Count { get; }

    /// <summary>Rows that a multiplication kernel works on at once: 2 accumulators a row must fit the registers (32 or 16).</summary>
    static abstract int MaxRows { get; }

    static abstract TVector Zero { get; }

    /// <summary>The same value in every lane.</summary>
    static abstract TVector Broadcast(float value);

    /// <summary>Loads <see cref="Count"/> floats; no alignment needed.</summary>
    static abstract TVector Load(float* source);

    static abstract void Store(TVector value, float* target);

    /// <summary>Loads <see cref="Count"/> bf16 values and widens them, which is exact.</summary>
    static abstract TVector LoadBFloat16(ushort* source);

    /// <summary>From <see cref="Count"/> pairs of bf16, the first of each pair: it sits in the low half of 32 bits, so it is shifted up.</summary>
    static abstract TVector LoadPairsFirst(uint* source);

    /// <summary>From <see cref="Count"/> pairs of bf16, the second of each pair: already in the high half, only the first is masked away.</summary>
    static abstract TVector LoadPairsSecond(uint* source);

    /// <summary>From <see cref="Count"/> pairs of signed bytes, the first of each pair as a float, which is exact.</summary>
    static abstract TVector LoadSBytePairsFirst(short* source);

    /// <summary>From <see cref="Count"/> pairs of signed bytes, the second of each pair as a float.</summary>
    static abstract TVector LoadSBytePairsSecond(short* source);

    /// <summary>By lane: the entry of a table of 16 floats that the lowest 4 of the lane's 32 bits name; the other bits are ignored.</summary>
    static abstract TVector LookUp(float* table, TVector bits);

    /// <summary>Shifts the 32 bits of each lane right by 4, to bring the next 4 into the lowest place.</summary>
    static abstract TVector ShiftBitsRight4(TVector bits);

    static abstract TVector Add(TVector left, TVector right);

    static abstract TVector Subtract(TVector left, TVector right);

    static abstract TVector Multiply(TVector left, TVector right);

    static abstract TVector Divide(TVector left, TVector right);

    /// <summary><c>left * right + addend</c>, rounded once where the processor has fused multiply-add.</summary>
    static abstract TVector MultiplyAdd(TVector left, TVector right, TVector addend);

    /// <summary>The smaller; <paramref name="value"/> when it is NaN.</summary>
    static abstract TVector Min(TVector bound, TVector value);

    /// <summary>The larger; <paramref name="value"/> when it is NaN.</summary>
    static abstract TVector Max(TVector bound, TVector value);

    static abstract TVector Abs(TVector value);

    /// <summary>The size of the first with the sign of the second.</summary>
    static abstract TVector CopySign(TVector magnitude, TVector sign);

    /// <summary>By lane: <c>left &lt; right ? whenLess : otherwise</c>.</summary>
    static abstract TVector SelectLess(TVector left, TVector right, TVector whenLess, TVector otherwise);

    /// <summary>Shifts the 32 bits of each lane left by 23, which moves an integer into a float's exponent.</summary>
    static abstract TVector ShiftBitsToExponent(TVector value);

    /// <summary>Sum over the lanes, in an order that depends on the width only.</summary>
    static abstract float Sum(TVector value);

    /// <summary>Largest lane; not for NaN.</summary>
    static abstract float Largest(TVector value);
}
