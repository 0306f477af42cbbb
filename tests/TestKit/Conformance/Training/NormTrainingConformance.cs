using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>Back through norms.</summary>
public abstract class NormTrainingConformance : TrainingConformance
{
    private const float Epsilon = 0.1f;

    [Theory]
    [InlineData(1, 1, 0f)]
    [InlineData(3, 17, 0f)]
    [InlineData(70, 33, 1f)]
    [InlineData(2, 600, 1f)]
    [InlineData(530, 3, 0f)]
    public void Rms_norm(int rows, int columns, float offset)
    {
        HostTensor x = HostTensor.Random(rows, columns, 1);
        HostTensor weight = HostTensor.Random(1, columns, 2);
        HostTensor dy = HostTensor.Random(rows, columns, 3, 0.5f);
        HostTensor oldX = HostTensor.Random(rows, columns, 4);
        HostTensor oldWeight = HostTensor.Random(1, columns, 5);
        using DeviceBuffer weightBuffer = Upload(Backend, weight.Values);
        using GuardedTensor input = Put(x);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor dx = Put(oldX);
        using GuardedTensor inPlace = Put(dy);
        using GuardedTensor dweight = Put(oldWeight);

        Training.RmsNormBackward(input.View, weightBuffer, offset, Epsilon, gradient.View, dx.View, dweight.View);
        Training.RmsNormBackward(input.View, weightBuffer, offset, Epsilon, inPlace.View, inPlace.View, dweight.View);

        double Loss(double[] values, double[] factors) => FiniteDifferences.Weighted(RmsNorm(values, factors, columns, offset), dy);
        FiniteDifferences.AssertGradient("dx", x, Added(oldX, dx), values => Loss(values, weight.Wide()));
        FiniteDifferences.AssertGradient("dx in place", x, inPlace.Read(), values => Loss(values, weight.Wide()));

        // Twice: the second call came with its result over its gradient.
        float[] once = [.. Added(oldWeight, dweight).Select(value => value / 2)];
        FiniteDifferences.AssertGradient("dweight", weight, once, factors => Loss(x.Wide(), factors));
    }

    [Theory]
    [InlineData(2, 3)]
    [InlineData(67, 37)]
    [InlineData(2, 600)]
    [InlineData(530, 3)]
    public void Layer_norm(int rows, int columns)
    {
        HostTensor x = HostTensor.Random(rows, columns, 1);
        HostTensor weight = HostTensor.Random(1, columns, 2);
        HostTensor bias = HostTensor.Random(1, columns, 6);
        HostTensor dy = HostTensor.Random(rows, columns, 3, 0.5f);
        HostTensor oldX = HostTensor.Random(rows, columns, 4);
        HostTensor oldRow = HostTensor.Random(1, columns, 5);
        using DeviceBuffer weightBuffer = Upload(Backend, weight.Values);
        using GuardedTensor input = Put(x);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor dx = Put(oldX);
        using GuardedTensor inPlace = Put(dy);
        using GuardedTensor dweight = Put(oldRow);
        using GuardedTensor dbias = Put(oldRow);

        Training.LayerNormBackward(input.View, weightBuffer, Epsilon, gradient.View, dx.View, null, null);
        Training.LayerNormBackward(input.View, weightBuffer, Epsilon, inPlace.View, inPlace.View, dweight.View, dbias.View);

        double Loss(double[] values, double[] factors, double[] shifts) => FiniteDifferences.Weighted(LayerNorm(values, factors, shifts, columns), dy);
        FiniteDifferences.AssertGradient("dx", x, Added(oldX, dx), values => Loss(values, weight.Wide(), bias.Wide()));
        FiniteDifferences.AssertGradient("dx in place", x, inPlace.Read(), values => Loss(values, weight.Wide(), bias.Wide()));
        FiniteDifferences.AssertGradient("dweight", weight, Added(oldRow, dweight), factors => Loss(x.Wide(), factors, bias.Wide()));
        FiniteDifferences.AssertGradient("dbias", bias, Added(oldRow, dbias), shifts => Loss(x.Wide(), weight.Wide(), shifts));
    }

    private static double[] RmsNorm(double[] x, double[] weight, int columns, float offset)
    {
        double[] y = new double[x.Length];
        for (int first = 0; first < x.Length; first += columns)
        {
            double factor = 1 / Math.Sqrt(x.Skip(first).Take(columns).Average(value => value * value) + Epsilon);
            for (int i = 0; i < columns; i++)
            {
                y[first + i] = x[first + i] * factor * (offset + weight[i]);
            }
        }

        return y;
    }

    private static double[] LayerNorm(double[] x, double[] weight, double[] bias, int columns)
    {
        double[] y = new double[x.Length];
        for (int first = 0; first < x.Length; first += columns)
        {
            double mean = x.Skip(first).Take(columns).Average();
            double factor = 1 / Math.Sqrt(x.Skip(first).Take(columns).Average(value => (value - mean) * (value - mean)) + Epsilon);
            for (int i = 0; i < columns; i++)
            {
                y[first + i] = ((x[first + i] - mean) * factor * weight[i]) + bias[i];
            }
        }

        return y;
    }
}
