using System.Globalization;
using Xunit;

namespace InferenceServer.TestKit.ReferenceMaths;

/// <summary>
/// Holds gradients against <c>(loss(x + h) - loss(x - h)) / 2h</c> of a formula in f64, one element of x after the other. In f64 the step may be so
/// small that the difference is right to eight digits; the bound is that of the gradient's own f32 sums.
/// </summary>
public static class FiniteDifferences
{
    private const double Step = 1e-4;
    private const int MostElements = 60;

    /// <summary>The values of a matrix in f64.</summary>
    public static double[] Wide(this HostTensor tensor) => [.. tensor.Values.Select(value => (double)value)];

    /// <summary>A scalar of an output that every element of it moves: the sum of its elements times fixed weights.</summary>
    public static double Weighted(double[] y, HostTensor weights)
    {
        Assert.Equal(weights.Values.Length, y.Length);
        double sum = 0;
        for (int i = 0; i < y.Length; i++)
        {
            sum += y[i] * weights.Values[i];
        }

        return sum;
    }

    /// <summary>Moves elements of x (all, or a fixed choice of many) and compares the change of the loss with the gradient.</summary>
    /// <param name="what">For the message.</param>
    /// <param name="x">Where the gradient was taken.</param>
    /// <param name="gradient">The gradient.</param>
    /// <param name="loss">The formula.</param>
    /// <param name="bound">Largest error beside 1 and the gradient's size.</param>
    public static void AssertGradient(string what, HostTensor x, float[] gradient, Func<double[], double> loss, double bound = 1e-5)
    {
        Assert.Equal(x.Values.Length, gradient.Length);
        double[] moved = x.Wide();
        for (int i = 0; i < moved.Length; i += Math.Max(1, moved.Length / MostElements))
        {
            double old = moved[i];
            moved[i] = old + Step;
            double above = loss(moved);
            moved[i] = old - Step;
            double below = loss(moved);
            moved[i] = old;
            double numeric = (above - below) / (2 * Step);

            // Written so that NaN fails.
            Assert.True(
                Math.Abs(numeric - gradient[i]) <= bound * (1 + Math.Abs(numeric)),
                string.Create(CultureInfo.InvariantCulture, $"{what}, element {i}: gradient {gradient[i]:g8}, finite difference {numeric:g8}"));
        }
    }
}
