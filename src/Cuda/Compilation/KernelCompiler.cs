using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Compilation;

/// <summary>Compiles kernel files with NVRTC, for one kind of device; needs no device itself. May be called from several threads.</summary>
internal sealed unsafe class KernelCompiler
{
    private readonly int _target;
    private readonly bool _makesPtx;
    private readonly string _version;

    /// <param name="computeCapability">Of the device, such as 90.</param>
    public KernelCompiler(int computeCapability)
    {
        NvrtcLibrary.Check(NvrtcLibrary.GetVersion(out int major, out int minor), "nvrtcVersion");
        NvrtcLibrary.Check(NvrtcLibrary.GetArchitectureCount(out int count), "nvrtcGetNumSupportedArchs");
        int[] architectures = new int[count];
        fixed (int* first = architectures)
        {
            NvrtcLibrary.Check(NvrtcLibrary.GetArchitectures(first), "nvrtcGetSupportedArchs");
        }

        // A device newer than the compiler gets portable code, which its driver translates.
        _makesPtx = !architectures.Contains(computeCapability);
        _target = _makesPtx ? architectures.Where(known => known <= computeCapability).DefaultIfEmpty(80).Max() : computeCapability;
        _version = $"{major}.{minor}";
    }

    /// <summary>The compiler and what it makes, for the log.</summary>
    public string Description => $"NVRTC {_version}, {Architecture}";

    private string Architecture => _makesPtx ? $"compute_{_target}" : $"sm_{_target}";

    /// <summary>NVRTC's options for an architecture such as "sm_90".</summary>
    public static List<string> OptionsFor(string architecture) => [$"--gpu-architecture={architecture}", "--std=c++17"];

    /// <summary>A name for what <see cref="Compile"/> would make: equal for equal sources, compiler and device.</summary>
    public string KeyOf(string file)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{_version}\n{Architecture}\n{string.Join(' ', Options())}\n{KernelSources.Kernels[file]}"));
        foreach ((string name, string text) in KernelSources.Headers)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"\n{name}\n{text}"));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Compiles a kernel file.</summary>
    /// <param name="file">Name of the file.</param>
    /// <param name="verbose">Whether the log is to tell registers, shared memory and spills of each kernel.</param>
    /// <returns>cubin or PTX, and the compiler's log.</returns>
    /// <exception cref="CudaException">The source has errors; the message holds the log.</exception>
    public (byte[] Image, string Log) Compile(string file, bool verbose = false)
    {
        List<nint> strings = [];
        try
        {
            nint program = Create(file, strings);
            try
            {
                List<string> options = Options();
                if (verbose)
                {
                    options.Add("--ptxas-options=-v");
                }

                int result = CompileProgram(program, options, strings);
                string log = ReadLog(program);
                return result == 0 ? (ReadImage(program), log) : throw new CudaException(result, $"{file} does not compile:\n{log}");
            }
            finally
            {
                _ = NvrtcLibrary.DestroyProgram(ref program);
            }
        }
        finally
        {
            strings.ForEach(Marshal.FreeCoTaskMem);
        }
    }

    private static nint Create(string file, List<nint> strings)
    {
        nint[] texts = [.. KernelSources.Headers.Values.Select(text => Keep(text, strings))];
        nint[] names = [.. KernelSources.Headers.Keys.Select(name => Keep(name, strings))];
        nint source = Keep(KernelSources.Kernels[file], strings);
        nint own = Keep(file, strings);
        fixed (nint* headers = texts, includeNames = names)
        {
            NvrtcLibrary.Check(
                NvrtcLibrary.CreateProgram(out nint program, (byte*)source, (byte*)own, texts.Length, (byte**)headers, (byte**)includeNames),
                "nvrtcCreateProgram");
            return program;
        }
    }

    private static int CompileProgram(nint program, List<string> options, List<nint> strings)
    {
        nint[] values = [.. options.Select(option => Keep(option, strings))];
        fixed (nint* first = values)
        {
            return NvrtcLibrary.CompileProgram(program, values.Length, (byte**)first);
        }
    }

    private static nint Keep(string text, List<nint> strings)
    {
        nint copy = Marshal.StringToCoTaskMemUTF8(text);
        strings.Add(copy);
        return copy;
    }

    private static string ReadLog(nint program)
    {
        NvrtcLibrary.Check(NvrtcLibrary.GetLogSize(program, out nuint size), "nvrtcGetProgramLogSize");
        byte[] log = new byte[(int)size];
        fixed (byte* first = log)
        {
            NvrtcLibrary.Check(NvrtcLibrary.GetLog(program, first), "nvrtcGetProgramLog");
        }

        return Encoding.UTF8.GetString(log).TrimEnd('\0', '\n');
    }

    private List<string> Options() => OptionsFor(Architecture);

    private byte[] ReadImage(nint program)
    {
        nuint size;
        NvrtcLibrary.Check(
            _makesPtx ? NvrtcLibrary.GetPtxSize(program, out size) : NvrtcLibrary.GetCubinSize(program, out size),
            "size of the compiled kernels");
        byte[] image = new byte[(int)size];
        fixed (byte* first = image)
        {
            NvrtcLibrary.Check(_makesPtx ? NvrtcLibrary.GetPtx(program, first) : NvrtcLibrary.GetCubin(program, first), "compiled kernels");
        }

        return image;
    }
}
