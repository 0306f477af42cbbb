using InferenceServer.Cpu.KeyValues;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu;

/// <summary>
/// The operations whose code depends on the vector width. The backend checks arguments; these only compute. Formulas are those of
/// <see cref="IComputeBackend"/>.
/// </summary>
internal abstract class CpuOperations : IDisposable
{
    /// <summary>Bits of a vector.</summary>
    public abstract int VectorBits { get; }

    public abstract void Dispose();

    public abstract void Scale(float factor, TensorView y);

    public abstract void Add(TensorView x, TensorView y);

    public abstract void AddBias(DeviceBuffer bias, TensorView y);

    public abstract void SoftCap(float cap, TensorView y);

    public abstract void Activate(Activation activation, TensorView y);

    public abstract void GatedActivation(TensorView x, Activation activation, TensorView y);

    public abstract void RmsNorm(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y);

    public abstract void LayerNorm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y);

    public abstract void MatMul(TensorView x, CpuWeightMatrix weight, TensorView y);

    public abstract void Rope(RopeTable table, int headSize, TensorView x);

    public abstract void PagedAttention(TensorView q, CpuKvCache cache, int layer, AttentionParameters parameters, TensorView y);

    public abstract void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y);

    public abstract void ScaleInputs(LoraBatch batch, int module, TensorView x, TensorView y);

    public abstract void ApplyReplacedRows(LoraBatch batch, int module, TensorView x, TensorView y);

    public abstract void ApplyEmbeddingAdapters(LoraBatch batch, int module, TensorView y);
}
