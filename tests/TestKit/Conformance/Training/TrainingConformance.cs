using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>
/// What the tests of every training backend share. Gradients are held against finite differences of the forward's formula in f64, so that they do
/// not depend on the backend's own forward, which other conformance classes hold against the same formulas.
/// </summary>
public abstract class TrainingConformance : BackendConformance
{
    protected TrainingConformance() => Training = CreateTraining(Backend);

    /// <summary>The operations under test.</summary>
    protected ITrainingBackend Training { get; }

    public override void Dispose()
    {
        Training.Dispose();
        base.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Makes the training half of a backend.</summary>
    protected abstract ITrainingBackend CreateTraining(IComputeBackend backend);

    /// <summary>A matrix on the backend, guarded.</summary>
    protected GuardedTensor Put(HostTensor content) => new(Backend, content);

    /// <summary>A result that is added to: what the operation added.</summary>
    protected static float[] Added(HostTensor old, GuardedTensor result) => [.. result.Read().Zip(old.Values, (after, before) => after - before)];

    /// <summary>The transpose.</summary>
    protected static HostTensor Turned(HostTensor x)
    {
        HostTensor y = new(x.Columns, x.Rows);
        for (int row = 0; row < x.Rows; row++)
        {
            for (int column = 0; column < x.Columns; column++)
            {
                y[column, row] = x[row, column];
            }
        }

        return y;
    }
}
