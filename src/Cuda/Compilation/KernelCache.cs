namespace InferenceServer.Cuda.Compilation;

/// <summary>
/// Compiled kernels in a folder, each under the key of its source, compiler and device. Losing one costs a compilation, so that a folder that
/// cannot be read or written is no error.
/// </summary>
internal sealed class KernelCache
{
    private readonly string _folder;

    /// <param name="folder">The folder, made when it is not there; empty to keep nothing.</param>
    public KernelCache(string folder) => _folder = folder;

    /// <summary>What was kept of a file; null for nothing.</summary>
    public byte[]? Find(string file, KernelCompiler compiler)
    {
        try
        {
            return _folder.Length > 0 && File.Exists(PathOf(file, compiler)) ? File.ReadAllBytes(PathOf(file, compiler)) : null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public void Keep(string file, KernelCompiler compiler, byte[] image)
    {
        if (_folder.Length == 0)
        {
            return;
        }

        try
        {
            Directory.CreateDirectory(_folder);
            string aside = Path.Combine(_folder, Path.GetRandomFileName());
            File.WriteAllBytes(aside, image);
            File.Move(aside, PathOf(file, compiler), overwrite: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The next start compiles again.
        }
    }

    /// <summary>Removes what was kept of a file.</summary>
    /// <returns>Whether there was anything.</returns>
    public bool Forget(string file, KernelCompiler compiler)
    {
        if (Find(file, compiler) is null)
        {
            return false;
        }

        try
        {
            File.Delete(PathOf(file, compiler));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // It is written anew after this; where that fails too, every start compiles.
        }

        return true;
    }

    private string PathOf(string file, KernelCompiler compiler) =>
        Path.Combine(_folder, $"{Path.GetFileNameWithoutExtension(file)}-{compiler.KeyOf(file)}.image");
}
