namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>A folder that goes when the test ends.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    // In memory where there is such a file system: these tests sync hundreds of times.
    public string Path { get; } = Directory.Exists("/dev/shm")
        ? Directory.CreateDirectory($"/dev/shm/adapter-store-{Guid.NewGuid():N}").FullName
        : Directory.CreateTempSubdirectory("adapter-store-").FullName;

    public string this[string relative] => System.IO.Path.Combine(Path, relative);

    /// <summary>Writes an adapter's files and returns the folder.</summary>
    public string Write(byte[] config, byte[] weights)
    {
        File.WriteAllBytes(this["adapter_config.json"], config);
        File.WriteAllBytes(this["adapter_model.safetensors"], weights);
        return Path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
