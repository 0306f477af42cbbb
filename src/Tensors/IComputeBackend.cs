using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Tensors;

/// <summary>
/// The machine under the model: whole operations, not a tensor library. Letters are those of docs/NOTATION.md; every activation is
/// f32 row-major; outputs come last; operations run in the order of the calls and may return before they are done (a device), so read
/// results only through <see cref="Read"/>. One thread calls the operations; <see cref="CreateMatrix"/>, <see cref="CreateAdapter"/>,
/// <see cref="Allocate"/>, <see cref="Write"/> and <see cref="ReadMatrix"/> may be called from any thread beside a running step.
/// Views of one call do not overlap unless the method says so. A row's result never depends on the other rows of the call.
/// </summary>
public interface IComputeBackend : IDisposable
{
    /// <summary>"cpu" or "cuda".</summary>
    string Name { get; }

    /// <summary>The device and what was chosen on it, in one line for the start-up log.</summary>
    string Description { get; }

    /// <summary>
    /// Whether <see cref="MatMul"/> keeps no more of x than bf16 does beside weights of this format. It decides what is worth keeping in f32
    /// elsewhere.
    /// </summary>
    bool RoundsInputs(WeightFormat weights);

    /// <summary>Bytes that are free now in a memory of the device's own; null where it shares the host's.</summary>
    long? FreeMemory { get; }

    /// <summary>Takes zeroed device memory.</summary>
    /// <exception cref="DeviceMemoryException">There is too little.</exception>
    DeviceBuffer Allocate(long byteCount, string label);

    /// <summary>Copies from host memory into a buffer.</summary>
    void Write(ReadOnlySpan<float> source, DeviceBuffer target);

    /// <summary>Waits for all operations before it and copies a view, row by row, into <paramref name="destination"/> (<c>Rows * Columns</c>).</summary>
    void Read(TensorView source, Span<float> destination);

    /// <summary>
    /// Packs a weight matrix <c>[rows, columns]</c>, quantising it where the format says so; <paramref name="reader"/> may be called from
    /// several threads at once.
    /// </summary>
    /// <exception cref="InvalidDataException">A weight to be quantised is not finite; names the label.</exception>
    WeightMatrix CreateMatrix(int rows, int columns, WeightFormat format, string label, WeightRowReader reader);

    /// <summary>Unpacks whole rows, starting at <paramref name="firstRow"/>, as f32; exactly what the multiplication uses.</summary>
    void ReadMatrix(WeightMatrix matrix, int firstRow, Span<float> destination);

    /// <summary>Whether two matrices hold the same bits.</summary>
    bool AreIdentical(WeightMatrix left, WeightMatrix right);

    /// <summary>Makes an adapter resident; A and B are kept in <paramref name="format"/>.</summary>
    DeviceAdapter CreateAdapter(AdapterWeights weights, WeightFormat format);

    /// <summary>How serving keeps keys and values on this backend: F32 or BF16.</summary>
    WeightFormat KeyValueFormat { get; }

    /// <exception cref="ArgumentException">The geometry has a number below 1, or the format is not one that the backend keeps.</exception>
    KvCache CreateKvCache(KvCacheShape shape);

    /// <summary>Makes the step's integers visible to the operations that follow: one upload. The step must not change until the next one.</summary>
    void BeginStep(StepInputs step);

    /// <summary>
    /// After an operation of a step has thrown: forgets what was asked for since <see cref="BeginStep"/> and is not under way yet, and waits for what
    /// is. What the step wrote is worth nothing; who calls this may free the memory that it named.
    /// </summary>
    void AbandonStep();

    /// <summary>Gathers embeddings: <c>y[t] = table[tokens[t]]</c>; <paramref name="y"/> is <c>[T, H]</c>.</summary>
    void Embed(WeightMatrix table, TensorView y);

    /// <summary>Adds learned position embeddings: <c>y[t] += table[positions[t]]</c>.</summary>
    void AddPositions(WeightMatrix table, TensorView y);

    /// <summary>
    /// Applies the adapters' changes of the embedding <paramref name="module"/> to the gathered rows, for each group of the step:
    /// a replacement table, replaced token rows, and <c>y[t] += w B A[:, token]</c>.
    /// </summary>
    void ApplyEmbeddingAdapters(int module, TensorView y);

    /// <summary><c>y = factor * y</c>.</summary>
    void Scale(float factor, TensorView y);

    /// <summary>Normalises each row: <c>y[t, h] = x[t, h] / sqrt(mean(x[t]^2) + eps) * (offset + weight[h])</c>; y may be x.</summary>
    /// <param name="x"><c>[T, H]</c>.</param>
    /// <param name="weight">f32 <c>[H]</c>.</param>
    /// <param name="offset">0, or 1 for Gemma.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="y"><c>[T, H]</c>.</param>
    void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y);

    /// <summary>Normalises each row: <c>y = (x - mean) / sqrt(var + eps) * weight + bias</c>, biased variance; y may be x.</summary>
    void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y);

    /// <summary><c>y = x W^T</c>: x <c>[T, in]</c>, W <c>[out, in]</c>, y <c>[T, out]</c>.</summary>
    void MatMul(TensorView x, WeightMatrix weight, TensorView y);

    /// <summary>
    /// Adds each group's adapters to the outputs of linear modules that read the same input; for each of them
    /// <c>y[rows] = (1 + sum w_i (OutputScale_i - 1)) * y[rows] + sum w_i (B_i (g_i A_i x[rows]) + OutputBias_i)</c>, where g_i is 1 or,
    /// for each row by its own x, the weights of the adapter's <see cref="RankGate"/>.
    /// Groups are those of <paramref name="batch"/>; adapters that leave the module alone add nothing here, those that replace it only
    /// their OutputBias.
    /// </summary>
    /// <param name="batch">The step's groups, or those of the sampled rows.</param>
    /// <param name="modules">The modules, and which columns of y are theirs; no column is two modules'.</param>
    /// <param name="x">Input of the modules, unscaled, <c>[rows, in]</c>.</param>
    /// <param name="y">Outputs of their base weights without bias, <c>[rows, out of all]</c>.</param>
    void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y);

    /// <summary>
    /// Scales the rows of every group whose adapters scale this module's input:
    /// <c>y[t] = (1 + sum w_i (InputScale_i - 1)) * x[t]</c>; other rows are copied. y may be x.
    /// </summary>
    void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y);

    /// <summary>Replaces outputs of replaced vocabulary rows (trainable tokens on a tied output head): <c>y[t, token_j] = values_j . x[t]</c>.</summary>
    void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y);

    /// <summary><c>y[t] += bias</c>.</summary>
    void AddBias(DeviceBuffer bias, TensorView y);

    /// <summary><c>y += x</c>, same shapes.</summary>
    void Add(TensorView x, TensorView y);

    /// <summary>Rotates the heads of each row in place, by the step's positions; <paramref name="x"/> is <c>[T, heads * D]</c>.</summary>
    void Rope(RopeTable table, int headSize, TensorView x);

    /// <summary>Stores the step's keys and values, each <c>[T, K * D]</c>, at their places in the cache.</summary>
    void StoreKv(TensorView k, TensorView v, KvCache cache, int layer);

    /// <summary>
    /// Causal attention over the cached keys and values of each row's own sequence (its own included, already stored):
    /// <c>y[t, q] = softmax(mask(cap(scale q k^T))) v</c>; q and y are <c>[T, Q * D]</c>. Sums run in key order, independent of chunking.
    /// </summary>
    void PagedAttention(TensorView q, KvCache cache, int layer, AttentionParameters parameters, TensorView y);

    /// <summary>Gated activation: <c>y[t, i] = act(x[t, i]) * x[t, I + i]</c>; x is <c>[T, 2 I]</c>, y <c>[T, I]</c>.</summary>
    void GatedActivation(TensorView x, Activation activation, TensorView y);

    /// <summary><c>y = act(y)</c>.</summary>
    void Activate(Activation activation, TensorView y);

    /// <summary>Gathers the step's sampled rows: <c>y[i] = x[SampledRows[i]]</c>.</summary>
    void GatherSampledRows(TensorView x, TensorView y);

    /// <summary><c>y = cap * tanh(y / cap)</c> (Gemma 2's final logits).</summary>
    void SoftCap(float cap, TensorView y);
}
