using InferenceServer.Tensors.Steps;

namespace InferenceServer.Tensors;

/// <summary>
/// The other half of the machine: what training needs beside <see cref="IComputeBackend"/>. For each forward operation there is one that
/// carries the gradient of its output back to its inputs; gradients have the shape of what they belong to and are written <c>dx</c>.
/// All sums are f32 in an order that depends on the shapes only, so the same run gives the same bits with any number of threads.
/// Outputs come last; views of one call do not overlap unless the method says so.
/// </summary>
public interface ITrainingBackend : IDisposable
{
    /// <summary>The label of a row that <see cref="CrossEntropy"/> leaves out.</summary>
    const int IgnoredLabel = -100;

    /// <summary><c>y = x</c>, same shapes.</summary>
    void Copy(TensorView x, TensorView y);

    /// <summary><c>y = 0</c>.</summary>
    void Clear(TensorView y);

    /// <summary><c>y += factor * x</c>, same shapes.</summary>
    void AddScaled(float factor, TensorView x, TensorView y);

    /// <summary><c>y = factor * x w^T</c>, or added to y: x <c>[T, k]</c>, w <c>[n, k]</c>, y <c>[T, n]</c>.</summary>
    void MultiplyTransposed(float factor, TensorView x, TensorView w, TensorView y, bool add);

    /// <summary><c>y = factor * x w</c>, or added to y: x <c>[T, k]</c>, w <c>[k, n]</c>, y <c>[T, n]</c>.</summary>
    void Multiply(float factor, TensorView x, TensorView w, TensorView y, bool add);

    /// <summary><c>y += factor * x^T z</c>: x <c>[T, m]</c>, z <c>[T, n]</c>, y <c>[m, n]</c>; the gradient of a weight.</summary>
    void AddTransposedProduct(float factor, TensorView x, TensorView z, TensorView y);

    /// <summary>Through <c>y = x W^T</c> with a frozen weight: <c>dx += dy W</c>.</summary>
    void MatMulBackward(TensorView dy, WeightMatrix weight, TensorView dx);

    /// <summary><c>y[t, h] = x[t, h] * factors[h]</c>, or added to y; factors is one row; y may be x.</summary>
    void ScaleColumns(TensorView x, TensorView factors, TensorView y, bool add);

    /// <summary><c>sums[h] += sum over t of x[t, h] * z[t, h]</c>, or of x alone; sums is one row.</summary>
    void AddColumnSums(TensorView x, TensorView? z, TensorView sums);

    /// <summary><c>y[t] = table[rows[t]]</c>; table is row-major <c>[V, H]</c>.</summary>
    void GatherRows(TensorView table, ReadOnlySpan<int> rows, TensorView y);

    /// <summary>Through a gather: <c>dtable[rows[t]] += dy[t]</c>, in the order of t.</summary>
    void ScatterRows(TensorView dy, ReadOnlySpan<int> rows, TensorView dtable);

    /// <summary><c>y[t, r] = table[r, columns[t]]</c>; the low-rank input of an embedding.</summary>
    void GatherColumns(TensorView table, ReadOnlySpan<int> columns, TensorView y);

    /// <summary>Through that gather: <c>dtable[r, columns[t]] += dy[t, r]</c>, in the order of t.</summary>
    void ScatterColumns(TensorView dy, ReadOnlySpan<int> columns, TensorView dtable);

    /// <summary>
    /// Through RmsNorm: with <c>n = 1 / sqrt(mean(x^2) + eps)</c> and <c>g = dy * (offset + weight)</c>,
    /// <c>dx = n g - x n^3 mean(g x)</c> and <c>dweight += sum over t of dy x n</c>.
    /// </summary>
    /// <param name="x">The input as it was, <c>[T, H]</c>.</param>
    /// <param name="weight">f32 <c>[H]</c>.</param>
    /// <param name="offset">0, or 1 for Gemma.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="dy">Gradient of the output.</param>
    /// <param name="dx">Gradient of the input; added to, or overwritten when it is <paramref name="dy"/> itself.</param>
    /// <param name="dweight">Gradient of the weight, one row, added to; null when the weight is frozen.</param>
    void RmsNormBackward(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView dy, TensorView dx, TensorView? dweight);

    /// <summary>
    /// Through LayerNorm: with <c>z = (x - mean) / sqrt(var + eps)</c> and <c>g = dy * weight</c>,
    /// <c>dx = (g - mean(g) - z mean(g z)) / sqrt(var + eps)</c>, <c>dweight += sum of dy z</c>, <c>dbias += sum of dy</c>.
    /// dx is added to, or overwritten when it is dy itself.
    /// </summary>
    void LayerNormBackward(
        TensorView x, DeviceBuffer weight, float epsilon, TensorView dy, TensorView dx, TensorView? dweight, TensorView? dbias);

    /// <summary>Through Rope: rotates the gradient back, in place, by the positions given for its rows.</summary>
    void RopeBackward(RopeTable table, int headSize, ReadOnlySpan<int> positions, TensorView dx);

    /// <summary>
    /// Through causal attention over whole sequences (<see cref="StepSequence.FirstPosition"/> 0):
    /// <c>s = cap(scale q k^T), p = softmax(mask(s)), y = p v</c>. Scores are computed again from q and k.
    /// </summary>
    /// <param name="q">Rotated queries <c>[T, Q * D]</c>.</param>
    /// <param name="k">Rotated keys <c>[T, K * D]</c>.</param>
    /// <param name="v">Values <c>[T, K * D]</c>.</param>
    /// <param name="sequences">The rows of each sequence.</param>
    /// <param name="parameters">Heads, window, cap.</param>
    /// <param name="dy">Gradient of the output <c>[T, Q * D]</c>.</param>
    /// <param name="dq">Added to.</param>
    /// <param name="dk">Added to.</param>
    /// <param name="dv">Added to.</param>
    void AttentionBackward(
        TensorView q,
        TensorView k,
        TensorView v,
        ReadOnlySpan<StepSequence> sequences,
        AttentionParameters parameters,
        TensorView dy,
        TensorView dq,
        TensorView dk,
        TensorView dv);

    /// <summary>
    /// Through <c>y[t, i] = act(x[t, i]) * x[t, I + i]</c>: <c>dx[t, i] += dy x[t, I + i] act'(x[t, i])</c> and
    /// <c>dx[t, I + i] += dy act(x[t, i])</c>.
    /// </summary>
    void GatedActivationBackward(TensorView x, Activation activation, TensorView dy, TensorView dx);

    /// <summary>Through <c>y = act(y)</c>: <c>dy *= act'(x)</c>, x being the values before.</summary>
    void ActivationBackward(TensorView x, Activation activation, TensorView dy);

    /// <summary>Through <c>y = cap tanh(y / cap)</c>: <c>dy *= 1 - (y / cap)^2</c>, y being the values after.</summary>
    void SoftCapBackward(TensorView y, float cap, TensorView dy);

    /// <summary>Cross-entropy of each row against its label, and its gradient <c>dlogits = factor (softmax(logits) - onehot(label))</c>.</summary>
    /// <param name="logits"><c>[rows, V]</c>.</param>
    /// <param name="labels">A label for each row; <see cref="IgnoredLabel"/> leaves the row out: no loss, no gradient.</param>
    /// <param name="factor">Weight of a row, usually one over the number of labelled rows.</param>
    /// <param name="dlogits">Overwritten.</param>
    /// <returns>The sum of <c>-log softmax(logits)[label]</c> over the labelled rows, not multiplied by the factor.</returns>
    double CrossEntropy(TensorView logits, ReadOnlySpan<int> labels, float factor, TensorView dlogits);

    /// <summary>
    /// Zeroes elements at random and lengthens the others so that the mean stays: <c>y = x / (1 - rate)</c> or 0, or added to y. Which ones
    /// depends on the seed and the element's place only, so the same call on a gradient is the way back.
    /// </summary>
    void Dropout(TensorView x, float rate, ulong seed, TensorView y, bool add);

    /// <summary>
    /// The weights of a gate's blocks: <c>y[t] = softmax((x[t] + bias) / temperature)</c> over the topK largest scores of the row, 0 for
    /// the others; of equal scores the first is larger. For rows of at most <see cref="Adapters.RankGate.MaxBlocks"/>.
    /// </summary>
    /// <param name="x">Scores <c>[T, n]</c>.</param>
    /// <param name="bias">One row, or null for zeros.</param>
    /// <param name="temperature">Above 0.</param>
    /// <param name="topK">From 1 to n.</param>
    /// <param name="y"><c>[T, n]</c>; may be x.</param>
    void GateSoftmax(TensorView x, TensorView? bias, float temperature, int topK, TensorView y);

    /// <summary>
    /// Through that softmax: <c>dx = y (dy - sum over the row of y dy) / temperature</c>, where y is 0 nothing passes. dx is overwritten
    /// and may be dy.
    /// </summary>
    void GateSoftmaxBackward(TensorView y, float temperature, TensorView dy, TensorView dx);

    /// <summary><c>y[t, h] = x[t, h] * factors[t, block of h]</c>; the columns are blocks of the sizes given. y may be x.</summary>
    void ScaleBlocks(TensorView x, TensorView factors, ReadOnlySpan<int> sizes, TensorView y);

    /// <summary><c>y[t, i] = sum over block i of x[t, h] * z[t, h]</c>; through <see cref="ScaleBlocks"/> to its factors.</summary>
    void BlockProducts(TensorView x, TensorView z, ReadOnlySpan<int> sizes, TensorView y);

    /// <summary>Sum of the squares of all elements of some matrices; asked for together, they are one wait for a device.</summary>
    double SumOfSquares(ReadOnlySpan<TensorView> x);

    /// <summary>
    /// <c>norms[o] = |W[first + o] + factor B[o] A|</c>, the length of each row of a module's adapted weight (DoRA).
    /// </summary>
    /// <param name="weight">Matrix that holds the module.</param>
    /// <param name="firstRow">First row of the module in it.</param>
    /// <param name="a"><c>[R, in]</c>.</param>
    /// <param name="b"><c>[out, R]</c>.</param>
    /// <param name="factor">The adapter's scale.</param>
    /// <param name="norms">One row of out elements.</param>
    void AdaptedRowNorms(WeightMatrix weight, int firstRow, TensorView a, TensorView b, float factor, TensorView norms);

    /// <summary>One step of Adam with decoupled decay; see <see cref="AdamStep"/>.</summary>
    /// <param name="step">Rate, decay, moments.</param>
    /// <param name="gradient">Gradient, the shape of the value; dense.</param>
    /// <param name="first">Mean of the gradient; updated.</param>
    /// <param name="second">Mean of its square; updated.</param>
    /// <param name="value">The parameter; updated.</param>
    void Adam(AdamStep step, TensorView gradient, TensorView first, TensorView second, TensorView value);
}
