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
        string[] files = [.. KernelSources.Kernels.Keys];
        byte[][] images = new byte[files.Length][];
        Parallel.For(0, files.Length, i => images[i] = Compile(compiler, files[i], cacheFolder));
        try
        {
            for (int i = 0; i < files.Length; i++)
            {
                _modules[files[i]] = new KernelModule(files[i], images[i]);
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

    private static byte[] Compile(KernelCompiler compiler, string file, string cacheFolder)
    {
        if (cacheFolder.Length == 0)
        {
            return compiler.Compile(file).Image;
        }

        string kept = Path.Combine(cacheFolder, $"{Path.GetFileNameWithoutExtension(file)}-{compiler.KeyOf(file)}.image");
        if (File.Exists(kept))
        {
            return File.ReadAllBytes(kept);
        }

        byte[] image = compiler.Compile(file).Image;
        Directory.CreateDirectory(cacheFolder);
        string aside = $"{kept}.{Environment.ProcessId}";
        File.WriteAllBytes(aside, image);
        File.Move(aside, kept, overwrite: true);
        return image;
    }
}
