using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Tensors;

namespace InferenceServer.Server.Devices;

/// <summary>The processor.</summary>
internal sealed class CpuPlatform : IComputePlatform
{
    private readonly CpuOptions _options;

    public CpuPlatform(CpuOptions options)
    {
        _options = options;
        Serving = new CpuBackend(options);
    }

    public IComputeBackend Serving { get; }

    public StepLimits DefaultLimits => StepLimits.OfProcessor;

    // One thread: it works beside the steps.
    public IComputeBackend CreateProbe() => new CpuBackend(new CpuOptions
    {
        ThreadCount = 1,
        VectorBits = _options.VectorBits,
        Products = _options.Products,
        HugePages = _options.HugePages,
    });

    public (IComputeBackend Backend, ITrainingBackend Operations) CreateTraining(int threads, Action? beforeOperation)
    {
        CpuBackend backend = new(
            new CpuOptions { ThreadCount = threads, VectorBits = _options.VectorBits, Products = CpuProducts.Vectors },
            beforeOperation);
        return (backend, CpuTraining.Create(backend));
    }

    public void Dispose() => Serving.Dispose();
}
