using System.Reflection;

namespace InferenceServer.Cuda.Compilation;

/// <summary>The .cu and .cuh files inside this assembly.</summary>
internal static class KernelSources
{
    /// <summary>File name to text of every kernel file.</summary>
    public static IReadOnlyDictionary<string, string> Kernels { get; } = ReadAll(".cu");

    /// <summary>File name to text of every file that kernels include.</summary>
    public static IReadOnlyDictionary<string, string> Headers { get; } = ReadAll(".cuh");

    private static SortedDictionary<string, string> ReadAll(string extension)
    {
        Assembly assembly = typeof(KernelSources).Assembly;
        SortedDictionary<string, string> files = new(StringComparer.Ordinal);
        foreach (string name in assembly.GetManifestResourceNames().Where(name => Path.GetExtension(name) == extension))
        {
            using StreamReader reader = new(assembly.GetManifestResourceStream(name)!);
            files[name] = reader.ReadToEnd();
        }

        return files;
    }
}
