using InferenceServer.Cuda.Devices;

namespace InferenceServer.Cuda.Compilation;

/// <summary>All kernels, compiled for a device at start: by all cores, or read from the folder that keeps them.</summary>
internal sealed class KernelLibrary : IDisposable
{
    private readonly Dictionary<string, KernelModule> _modules = new(StringComparer.Ordinal);

    /// <param name="device">The device.</param>
    /// <param name="cacheFolder">Where compiled kernels are kept; empty for nowhere.</param>
    public KernelLibrary(CudaDevice device, string cacheFolder)
    {
        KernelCompiler compiler = new(device.ComputeCapability);
        Description = compiler.Description;
        KernelCache cache = new(cacheFolder);
        string[] files = [.. KernelSources.Kernels.Keys];
        byte[][] images = new byte[files.Length][];
        Parallel.For(0, files.Length, i => images[i] = cache.Find(files[i], compiler) ?? Compile(files[i], compiler, cache));
        device.MakeCurrent();
        try
        {
            for (int i = 0; i < files.Length; i++)
            {
                _modules[files[i]] = Load(files[i], images[i], compiler, cache);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The compiler, for the log.</summary>
    public string Description { get; }

    /// <summary>The kernels of a file such as "RmsNorm.cu".</summary>
    public KernelModule this[string file] => _modules[file];

    public void Dispose()
    {
        foreach (KernelModule module in _modules.Values)
        {
            module.Dispose();
        }

        _modules.Clear();
    }

    private static byte[] Compile(string file, KernelCompiler compiler, KernelCache cache)
    {
        byte[] image = compiler.Compile(file).Image;
        cache.Keep(file, compiler, image);
        return image;
    }

    private static KernelModule Load(string file, byte[] image, KernelCompiler compiler, KernelCache cache)
    {
        try
        {
            return new KernelModule(file, image);
        }
        catch (CudaException) when (cache.Forget(file, compiler))
        {
            // What was kept is broken, or of another driver.
            return new KernelModule(file, Compile(file, compiler, cache));
        }
    }
}
