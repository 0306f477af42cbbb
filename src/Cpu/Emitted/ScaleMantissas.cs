using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// The mantissas that scales of x may have beside NF4: <c>2^(1/4), 2^(2/4), 2^(3/4), 2</c>. A scale is the least that holds the largest of its group, so
/// it is at most 1.19 times too large, 1.09 in the mean.
/// </summary>
internal static unsafe class ScaleMantissas
{
    /// <summary>Bytes of one group's scales of a panel, times each of the mantissas.</summary>
    public const int GroupBytes = Count * VariantBytes;

    private const int Count = 4;
    private const int VariantBytes = PanelLayout.Width * sizeof(float);

    private const float First = 1.18920712f;
    private const float Second = 1.41421356f;
    private const float Third = 1.68179283f;
    private const float Fourth = 2;

    /// <summary>The least mantissa that is not below a number of 1 .. 2.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int IndexFor(float number) => (number > First ? 1 : 0) + (number > Second ? 1 : 0) + (number > Third ? 1 : 0);

    /// <summary>A mantissa.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Value(int index) => index switch
    {
        0 => First,
        1 => Second,
        2 => Third,
        _ => Fourth,
    };

    /// <summary>See <see cref="GroupFactor.Mantissa"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ForWeights(int index) => index switch
    {
        0 => First / IntegerWeights.NF4Unit,
        1 => Second / IntegerWeights.NF4Unit,
        2 => Third / IntegerWeights.NF4Unit,
        _ => Fourth / IntegerWeights.NF4Unit,
    };

    /// <summary>See <see cref="GroupFactor.ScaleOffset"/>.</summary>
    public static int Offset(int index) => index * VariantBytes;

    /// <summary>The scales of successive blocks of a panel times each mantissa: <c>[groups][mantissa][32]</c>.</summary>
    /// <param name="codes">First block.</param>
    /// <param name="groups">Blocks.</param>
    /// <param name="target">Result.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(byte* codes, int groups, float* target)
    {
        for (int i = 0; i < groups; i++)
        {
            float* scales = (float*)(codes + QuantizedPanels.BlockBytes);
            Vector512<float> left = Vector512.Load(scales);
            Vector512<float> right = Vector512.Load(scales + Vector512<float>.Count);
            for (int index = 0; index < Count; index++)
            {
                float mantissa = ForWeights(index);
                (left * mantissa).Store(target);
                (right * mantissa).Store(target + Vector512<float>.Count);
                target += PanelLayout.Width;
            }

            codes += NF4Panels.Stride;
        }
    }
}
