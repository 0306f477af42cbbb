using System.Runtime.InteropServices;
using System.Text;
using InferenceServer.Cuda.Compilation;
using InferenceServer.TestKit;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>
/// NVIDIA's own compiler, which needs no GPU; <c>.ci/fetch-nvrtc</c> gets it. Loaded by path, beside the stand-in that the rest of the process uses.
/// </summary>
internal sealed unsafe class RealNvrtc
{
    private readonly string _folder;
    private readonly Lazy<nint> _library;

    private RealNvrtc(string folder, string fetch)
    {
        _folder = folder;
        _library = new Lazy<nint>(Load);
        WhyMissing = Files("libnvrtc.so.*").Length > 0 ? null : $"no NVRTC in {folder} ({fetch})";
    }

    /// <summary>The one of the folder that <c>NVRTC_FOLDER</c> names, or of the system's release.</summary>
    public static RealNvrtc OfSystem { get; } =
        new(Environment.GetEnvironmentVariable("NVRTC_FOLDER") ?? Fetched("nvrtc"), ".ci/fetch-nvrtc tests/KernelTests/obj/nvrtc");

    /// <summary>That of Debian's trixie: CUDA 12.4, which compiles to other instructions than 11.</summary>
    public static RealNvrtc OfTrixie { get; } = new(Fetched("nvrtc-trixie"), ".ci/fetch-nvrtc tests/KernelTests/obj/nvrtc-trixie trixie");

    /// <summary>CUDA 13's, as Ubuntu 26.04 has it.</summary>
    public static RealNvrtc OfCuda13 { get; } = new(Fetched("nvrtc-13"), ".ci/fetch-nvrtc tests/KernelTests/obj/nvrtc-13 cuda-13");

    /// <summary>The folder of its libraries.</summary>
    public string Folder => _folder;

    /// <summary>Why there is none; null where there is.</summary>
    public string? WhyMissing { get; }

    /// <summary>Its version, such as "12.4".</summary>
    public string Version
    {
        get
        {
            int major, minor;
            Check(((delegate* unmanaged<int*, int*, int>)Export("nvrtcVersion"))(&major, &minor));
            return $"{major}.{minor}";
        }
    }

    public static RealNvrtc Of(NvrtcRelease release) => release switch
    {
        NvrtcRelease.System => OfSystem,
        NvrtcRelease.Trixie => OfTrixie,
        _ => OfCuda13,
    };

    /// <summary>Compiles a kernel file of the backend with its own options.</summary>
    /// <param name="file">Name of the file.</param>
    /// <param name="architecture">Such as "sm_90".</param>
    /// <returns>NVRTC's status, its log, and the machine code's length.</returns>
    public (int Status, string Log, int CodeBytes) Compile(string file, string architecture)
    {
        List<nint> strings = [];
        nint Keep(string text)
        {
            strings.Add(Marshal.StringToCoTaskMemUTF8(text));
            return strings[^1];
        }

        try
        {
            nint[] texts = [.. KernelSources.Headers.Values.Select(Keep)];
            nint[] names = [.. KernelSources.Headers.Keys.Select(Keep)];
            nint[] options = [.. KernelCompiler.OptionsFor(architecture).Append("--ptxas-options=-v").Select(Keep)];
            nint program;
            fixed (nint* headers = texts, includeNames = names, given = options)
            {
                Check(((delegate* unmanaged<nint*, nint, nint, int, nint*, nint*, int>)Export("nvrtcCreateProgram"))(
                    &program, Keep(KernelSources.Kernels[file]), Keep(file), texts.Length, headers, includeNames));
                int status = ((delegate* unmanaged<nint, int, nint*, int>)Export("nvrtcCompileProgram"))(program, options.Length, given);
                string log = Encoding.UTF8.GetString(Read(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")).TrimEnd('\0', '\n');
                int codeBytes = status == 0 ? Read(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN").Length : 0;
                Check(((delegate* unmanaged<nint*, int>)Export("nvrtcDestroyProgram"))(&program));
                return (status, log, codeBytes);
            }
        }
        finally
        {
            strings.ForEach(Marshal.FreeCoTaskMem);
        }
    }

    private static string Fetched(string name) => Path.Combine(GoldenData.RepositoryRoot() ?? "", "tests", "KernelTests", "obj", name);

    private byte[] Read(nint program, string sizeOf, string get)
    {
        nuint size;
        Check(((delegate* unmanaged<nint, nuint*, int>)Export(sizeOf))(program, &size));
        byte[] bytes = new byte[(int)size];
        fixed (byte* first = bytes)
        {
            Check(((delegate* unmanaged<nint, byte*, int>)Export(get))(program, first));
        }

        return bytes;
    }

    private nint Load()
    {
        // NVRTC opens its builtins by bare name; glibc finds them by that name once they are loaded by their path.
        foreach (string builtins in Files("libnvrtc-builtins.so.*"))
        {
            NativeLibrary.Load(builtins);
        }

        return NativeLibrary.Load(Files("libnvrtc.so.*")[0]);
    }

    private string[] Files(string pattern) =>
        Directory.Exists(_folder) ? [.. Directory.GetFiles(_folder, pattern).Order(StringComparer.Ordinal)] : [];

    private nint Export(string name) => NativeLibrary.GetExport(_library.Value, name);

    private static void Check(int status) => Assert.Equal(0, status);
}
