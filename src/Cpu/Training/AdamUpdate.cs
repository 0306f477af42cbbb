using System.Numerics;
using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Training;

/// <summary>The formulas of <see cref="AdamStep"/> on vectors of the processor's width; pieces of the parameter in parallel.</summary>
internal sealed unsafe class AdamUpdate : ParallelJob
{
    private const int PieceLength = 1 << 14;

    private readonly WorkerPool _pool;
    private AdamStep _step;
    private float* _gradient;
    private float* _first;
    private float* _second;
    private float* _value;
    private long _count;

    public AdamUpdate(WorkerPool pool) => _pool = pool;

    public void Run(AdamStep step, float* gradient, float* first, float* second, float* value, long count)
    {
        _step = step;
        _gradient = gradient;
        _first = first;
        _second = second;
        _value = value;
        _count = count;
        _pool.Run(this, checked((int)((count + PieceLength - 1) / PieceLength)), count > PieceLength);
    }

    public override void Execute(int item, int worker)
    {
        long start = (long)item * PieceLength;
        Update(_step, _gradient + start, _first + start, _second + start, _value + start, (int)Math.Min(PieceLength, _count - start));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Update(in AdamStep step, float* gradient, float* first, float* second, float* value, int count)
    {
        // Every index stays below count; the scalar loop does the rest of the last vector by the same formulas.
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> g = Vector.Load(gradient + i) * step.GradientFactor;
            Vector<float> m = (Vector.Load(first + i) * step.Beta1) + (g * (1 - step.Beta1));
            Vector<float> v = (Vector.Load(second + i) * step.Beta2) + (g * g * (1 - step.Beta2));
            Vector<float> root = (Vector.SquareRoot(v) / new Vector<float>(step.RootCorrection)) + new Vector<float>(step.Epsilon);
            Vector<float> old = Vector.Load(value + i);
            Vector<float> change = m * step.Rate / root;
            Vector<float> next = step.ShrinkAfter ? (old - change) * step.Shrink : (old * step.Shrink) - change;
            Vector.Store(m, first + i);
            Vector.Store(v, second + i);
            Vector.Store(next, value + i);
        }

        for (; i < count; i++)
        {
            float g = gradient[i] * step.GradientFactor;
            float m = (first[i] * step.Beta1) + (g * (1 - step.Beta1));
            float v = (second[i] * step.Beta2) + (g * g * (1 - step.Beta2));
            float change = m * step.Rate / ((MathF.Sqrt(v) / step.RootCorrection) + step.Epsilon);
            first[i] = m;
            second[i] = v;
            value[i] = step.ShrinkAfter ? (value[i] - change) * step.Shrink : (value[i] * step.Shrink) - change;
        }
    }
}
