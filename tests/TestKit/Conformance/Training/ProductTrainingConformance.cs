using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>Products of matrices.</summary>
public abstract class ProductTrainingConformance : TrainingConformance
{
    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 5, 7)]
    [InlineData(129, 65, 70)]
    [InlineData(64, 8, 300)]
    [InlineData(9, 140, 33)]
    [InlineData(20, 17, 600)]
    [InlineData(70, 66, 1)]
    [InlineData(2, 130, 0)]
    public void Products_equal_their_definition(int rows, int columns, int depth)
    {
        HostTensor x = HostTensor.Random(rows, depth, 1);
        HostTensor w = HostTensor.Random(depth, columns, 2);
        HostTensor old = HostTensor.Random(rows, columns, 3);
        double[] product = Reference.MatMul(x, Turned(w));
        double[] sizes = Reference.MatMul(x.Absolute(), Turned(w).Absolute());
        using GuardedTensor left = Put(x);
        using GuardedTensor right = Put(w);
        using GuardedTensor leftTurned = Put(Turned(x));
        using GuardedTensor rightTurned = Put(Turned(w));
        using GuardedTensor y = Put(old);
        using GuardedTensor z = Put(old);

        Training.Multiply(0.5f, left.View, right.View, y.View, add: true);
        AssertProduct(0.5, old, "x w, added");
        Training.Multiply(2f, left.View, right.View, y.View, add: false);
        AssertProduct(2, null, "x w");
        Training.MultiplyTransposed(-1f, left.View, rightTurned.View, y.View, add: false);
        AssertProduct(-1, null, "x w^T");
        Training.Copy(z.View, y.View);
        Training.MultiplyTransposed(3f, left.View, rightTurned.View, y.View, add: true);
        AssertProduct(3, old, "x w^T, added");
        Training.Copy(z.View, y.View);
        Training.AddTransposedProduct(1f, leftTurned.View, right.View, y.View);
        AssertProduct(1, old, "x^T z");

        void AssertProduct(double factor, HostTensor? before, string what)
        {
            double[] expected = [.. product.Select((value, i) => (before?.Values[i] ?? 0) + (factor * value))];
            double[] scale = [.. sizes.Select(size => 1 + Math.Abs(factor * size))];
            Closeness.AssertCloseByScale(expected, scale, y.Read(), 2e-6, $"{what} of [{rows}, {depth}, {columns}]");
        }
    }
}
