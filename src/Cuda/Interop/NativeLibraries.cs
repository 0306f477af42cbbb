using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace InferenceServer.Cuda.Interop;

/// <summary>Finds the files of CUDA 13, 12 or 11 behind the names that the entry points use.</summary>
internal static class NativeLibraries
{
    public const string Driver = "cuda";
    public const string CublasLt = "cublasLt";
    public const string Nvrtc = "nvrtc";

    private static readonly Lock s_gate = new();
    private static readonly Dictionary<string, nint> s_loaded = new(StringComparer.Ordinal); // under s_gate
    private static string[] s_folders = []; // under s_gate
    private static int s_newest = int.MaxValue; // under s_gate

    /// <summary>Names the folders to search before the loader's own path. Libraries that are loaded already stay.</summary>
    /// <param name="path">Folders separated by ':'; empty for <c>CUDA_LIBRARY_PATH</c>.</param>
    public static void SearchFirst(string path)
    {
        string folders = path.Length > 0 ? path : Environment.GetEnvironmentVariable("CUDA_LIBRARY_PATH") ?? "";
        lock (s_gate)
        {
            s_folders = folders.Split(':', StringSplitOptions.RemoveEmptyEntries);
        }
    }

    /// <summary>
    /// Passes over libraries of a CUDA that the driver is too old for: its code and its calls are not known there, though it loads. Those that are
    /// loaded already stay.
    /// </summary>
    /// <param name="cudaMajor">The driver's version of CUDA, such as 12.</param>
    public static void UseUpTo(int cudaMajor)
    {
        lock (s_gate)
        {
            s_newest = cudaMajor;
        }
    }

    /// <summary>Whether a library can be loaded.</summary>
    public static bool IsAvailable(string name) => Resolve(name, Assembly.GetExecutingAssembly(), null) != 0;

    /// <summary>The files tried for a library, newest version first.</summary>
    /// <param name="name">The library.</param>
    /// <param name="newest">CUDA's newest version that counts.</param>
    public static string[] FilesOf(string name, int newest)
    {
        if (name == Driver)
        {
            return ["libcuda.so.1", "libcuda.so"];
        }

        // NVRTC of CUDA 11 kept the number of 11.2.
        (int Major, string File)[] files = name == CublasLt
            ? [(13, "libcublasLt.so.13"), (12, "libcublasLt.so.12"), (11, "libcublasLt.so.11")]
            : [(13, "libnvrtc.so.13"), (12, "libnvrtc.so.12"), (11, "libnvrtc.so.11.2")];
        return [.. files.Where(file => file.Major <= newest).Select(file => file.File)];
    }

    [SuppressMessage("Usage", "CA2255", Justification = "The resolver must stand before the first native call, and only one can be set.")]
    [ModuleInitializer]
    internal static void Register() => NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), Resolve);

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        lock (s_gate)
        {
            if (s_loaded.TryGetValue(name, out nint handle))
            {
                return handle;
            }

            foreach (string file in FilesOf(name, s_newest))
            {
                if (TryLoad(file, out handle))
                {
                    s_loaded[name] = handle;
                    return handle;
                }
            }

            return 0;
        }
    }

    private static bool TryLoad(string file, out nint handle)
    {
        foreach (string folder in s_folders)
        {
            string path = Path.Combine(folder, file);
            if (!File.Exists(path))
            {
                continue;
            }

            // NVRTC opens its builtins by bare name; glibc finds them by that name once they are loaded by their path.
            foreach (string builtins in file.StartsWith("libnvrtc", StringComparison.Ordinal) ? Directory.GetFiles(folder, "libnvrtc-builtins.so.*") : [])
            {
                _ = NativeLibrary.TryLoad(builtins, out _);
            }

            if (NativeLibrary.TryLoad(path, out handle))
            {
                return true;
            }
        }

        return NativeLibrary.TryLoad(file, out handle);
    }
}
