using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>What <see cref="ElementMap{TSimd, TVector, TOperator}"/> does with three elements and the target's old value.</summary>
internal interface IElementOperator<TVector>
{
    TVector Invoke(TVector first, TVector second, TVector third, TVector old);
}

/// <summary>The loop of all element-wise backward operations: <c>y = op(first, second, third, y)</c>; a stride of 0 repeats a row.</summary>
internal sealed unsafe class ElementMap<TSimd, TVector, TOperator> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TOperator : struct, IElementOperator<TVector>
{
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private TOperator _operator;
    private Rows _first;
    private Rows _second;
    private Rows _third;
    private Rows _y;
    private int _columns;

    public ElementMap(WorkerPool pool) => _pool = pool;

    public void Run(TOperator elementOperator, Rows first, Rows second, Rows third, Rows y, int rows, int columns)
    {
        _operator = elementOperator;
        _first = first;
        _second = second;
        _third = third;
        _y = y;
        _columns = columns;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker) =>
        Map(_operator, _first.At(item), _second.At(item), _third.At(item), _y.At(item), _columns);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Map(TOperator elementOperator, float* first, float* second, float* third, float* y, int count)
    {
        int i = 0;
        for (; i <= count - TSimd.Count; i += TSimd.Count)
        {
            TSimd.Store(
                elementOperator.Invoke(TSimd.Load(first + i), TSimd.Load(second + i), TSimd.Load(third + i), TSimd.Load(y + i)), y + i);
        }

        if (i < count)
        {
            int rest = count - i;
            TVector last = elementOperator.Invoke(
                VectorTail<TSimd, TVector>.Load(first + i, rest),
                VectorTail<TSimd, TVector>.Load(second + i, rest),
                VectorTail<TSimd, TVector>.Load(third + i, rest),
                VectorTail<TSimd, TVector>.Load(y + i, rest));
            VectorTail<TSimd, TVector>.Store(last, y + i, rest);
        }
    }
}
