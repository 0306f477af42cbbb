using System.Reflection;
using System.Text;
using InferenceServer.Cuda;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Benchmarks.Gpu.Device;

/// <summary>Compiles a kernel of the benchmark's own, which stands alone.</summary>
internal static unsafe class SourceCompiler
{
    /// <summary>Machine code of a file beside this one, which the driver need not translate: its translator may be missing, or older than NVRTC.</summary>
    /// <exception cref="CudaException">It does not compile.</exception>
    public static byte[] Compile(CudaDevice device, string file)
    {
        byte[] source = Encoding.UTF8.GetBytes(Text(file) + '\0');
        byte[] name = Encoding.UTF8.GetBytes(file + '\0');
        byte[] option = Encoding.UTF8.GetBytes($"--gpu-architecture=sm_{device.ComputeCapability}\0");
        fixed (byte* text = source, own = name, first = option)
        {
            NvrtcLibrary.Check(NvrtcLibrary.CreateProgram(out nint program, text, own, 0, null, null), "nvrtcCreateProgram");
            try
            {
                byte** options = stackalloc byte*[] { first };
                NvrtcLibrary.Check(NvrtcLibrary.CompileProgram(program, 1, options), $"compiling {file}");
                NvrtcLibrary.Check(NvrtcLibrary.GetCubinSize(program, out nuint size), "nvrtcGetCUBINSize");
                byte[] code = new byte[(int)size];
                fixed (byte* target = code)
                {
                    NvrtcLibrary.Check(NvrtcLibrary.GetCubin(program, target), "nvrtcGetCUBIN");
                }

                return code;
            }
            finally
            {
                _ = NvrtcLibrary.DestroyProgram(ref program);
            }
        }
    }

    private static string Text(string file)
    {
        using StreamReader reader = new(Assembly.GetExecutingAssembly().GetManifestResourceStream(file)!);
        return reader.ReadToEnd();
    }
}
