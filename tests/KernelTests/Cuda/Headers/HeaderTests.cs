using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Interop;
using InferenceServer.TestKit;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Headers;

/// <summary>Entry points, constants and structures are those of CUDA's headers: in the backend, and in the stand-in that tests it.</summary>
public sealed partial class HeaderTests
{
    private const BindingFlags All = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic;

    /// <summary>What the headers call the backend's constants.</summary>
    private static readonly Dictionary<string, string> s_constants = new(StringComparer.Ordinal)
    {
        ["CudaDriver.OutOfMemory"] = "CUDA_ERROR_OUT_OF_MEMORY",
        ["CudaDriver.ComputeCapabilityMajor"] = "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR",
        ["CudaDriver.ComputeCapabilityMinor"] = "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR",
        ["CudaDriver.MultiprocessorCount"] = "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT",
        ["CudaDriver.MaxSharedMemoryOptIn"] = "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
        ["CudaDriver.FunctionMaxDynamicSharedMemory"] = "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES",
        ["CudaDriver.NonBlockingStream"] = "CU_STREAM_NON_BLOCKING",
        ["CudaDriver.ThreadLocalCapture"] = "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL",
        ["CudaDriver.EventWithoutTiming"] = "CU_EVENT_DISABLE_TIMING",
        ["KernelModule.ErrorLog"] = "CU_JIT_ERROR_LOG_BUFFER",
        ["KernelModule.ErrorLogBytes"] = "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES",
        ["CublasLtLibrary.Float32"] = "CUDA_R_32F",
        ["CublasLtLibrary.BFloat16"] = "CUDA_R_16BF",
        ["CublasLtLibrary.ComputeFloat32"] = "CUBLAS_COMPUTE_32F",
        ["CublasLtLibrary.TransposeA"] = "CUBLASLT_MATMUL_DESC_TRANSA",
        ["CublasLtLibrary.TransposeB"] = "CUBLASLT_MATMUL_DESC_TRANSB",
        ["CublasLtLibrary.MaxWorkspaceBytes"] = "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES",
        ["CublasLtLibrary.MinAlignmentA"] = "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES",
        ["CublasLtLibrary.MinAlignmentB"] = "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES",
        ["CublasLtLibrary.MinAlignmentC"] = "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES",
        ["CublasLtLibrary.MinAlignmentD"] = "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES",
        ["CublasLtLibrary.Transposed"] = "CUBLAS_OP_T",
        ["CublasLtLibrary.NotTransposed"] = "CUBLAS_OP_N",
    };

    [HeaderFact]
    public void The_backend_calls_functions_as_the_headers_declare_them()
    {
        StringBuilder assertions = new();
        int count = 0;
        foreach (MethodInfo method in LibraryTypes().SelectMany(type => type.GetMethods(All)))
        {
            // Where something is marshalled, the import is a function inside of the method.
            if (method.GetCustomAttribute<DllImportAttribute>() is { } import)
            {
                string parameters = string.Join(", ", method.GetParameters().Select(parameter => CTypeOf(parameter.ParameterType)));
                assertions.Append(CudaHeaders.SameFunction(import.EntryPoint!, CTypeOf(method.ReturnType), parameters));
                count++;
            }
        }

        Assert.Equal(LibraryTypes().Sum(type => type.GetMethods(All).Count(method => method.GetCustomAttribute<LibraryImportAttribute>() is not null)), count);
        Assert.Equal("", CudaHeaders.ErrorsOf(assertions.ToString()));
    }

    [HeaderFact]
    public void The_backends_constants_and_structures_are_those_of_the_headers()
    {
        StringBuilder assertions = new();
        foreach (Type type in LibraryTypes())
        {
            foreach (FieldInfo field in type.GetFields(All).Where(field => field.IsLiteral && field.FieldType.IsPrimitive))
            {
                string name = $"{type.Name}.{field.Name}";
                Assert.True(s_constants.TryGetValue(name, out string? theirs), $"{name} is not in the list of this test");
                assertions.Append(FormattableString.Invariant($"static_assert({theirs} == {field.GetRawConstantValue()}, \"{name}\");\n"));
            }
        }

        foreach ((string ours, string theirs) in (ReadOnlySpan<(string, string)>)
            [("Algorithm", "algo"), ("WorkspaceBytes", "workspaceSize"), ("State", "state"), ("WavesCount", "wavesCount"), ("Reserved", "reserved")])
        {
            nint offset = Marshal.OffsetOf<CublasLtLibrary.Heuristic>(ours);
            assertions.Append(FormattableString.Invariant($"static_assert(offsetof(cublasLtMatmulHeuristicResult_t, {theirs}) == {offset}, \"{ours}\");\n"));
        }

        assertions.Append(FormattableString.Invariant(
            $"static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == {Marshal.SizeOf<CublasLtLibrary.Heuristic>()}, \"Heuristic\");\n"));
        Assert.Equal("", CudaHeaders.ErrorsOf(assertions.ToString()));
    }

    [HeaderFact]
    public void The_stand_in_has_the_functions_and_results_of_the_headers()
    {
        string folder = Path.Combine(GoldenData.RepositoryRoot()!, "tests", "CudaStandIn");
        StringBuilder assertions = new();
        foreach (string part in (ReadOnlySpan<string>)["driver", "nvrtc", "cublaslt"])
        {
            foreach (Match match in Directory.GetFiles(Path.Combine(folder, part), "*.cpp").SelectMany(file => Definition().Matches(File.ReadAllText(file))))
            {
                assertions.Append(CudaHeaders.SameFunction(match.Groups["name"].Value, match.Groups["result"].Value, match.Groups["parameters"].Value));
            }
        }

        Assert.NotEqual(0, assertions.Length);
        string results = File.ReadAllText(Path.Combine(folder, "driver", "result.h"));
        string names = File.ReadAllText(Path.Combine(folder, "driver", "state.cpp"));
        foreach (Match match in ResultValue().Matches(results))
        {
            Match named = Regex.Match(names, $"case {match.Groups["name"].Value}: return \"(?<theirs>\\w+)\"");
            Assert.True(named.Success, $"name_of has no name for {match.Groups["name"].Value}");
            assertions.Append($"static_assert({named.Groups["theirs"].Value} == {match.Groups["value"].Value}, \"{match.Groups["name"].Value}\");\n");
        }

        Assert.Equal("", CudaHeaders.ErrorsOf(assertions.ToString()));
    }

    private static Type[] LibraryTypes() => [typeof(CudaDriver), typeof(CublasLtLibrary), typeof(NvrtcLibrary), typeof(KernelModule)];

    private static string CTypeOf(Type type)
    {
        if (type.IsPointer || type.IsByRef)
        {
            return CTypeOf(type.GetElementType()!) + "*";
        }

        return type == typeof(void) || !type.IsPrimitive ? "void"
            : type == typeof(nint) ? "void*"
            : type == typeof(nuint) ? "size_t"
            : type == typeof(byte) ? "unsigned char"
            : type == typeof(int) ? "int"
            : type == typeof(uint) ? "unsigned"
            : type == typeof(long) ? "long long"
            : type == typeof(ulong) ? "unsigned long long"
            : type == typeof(float) ? "float"
            : throw new NotSupportedException(type.FullName);
    }

    [GeneratedRegex("^API (?<result>[\\w ]+?[ *]+)(?<name>(cu|nvrtc)\\w+)\\((?<parameters>[^)]*)\\)", RegexOptions.Multiline)]
    private static partial Regex Definition();

    [GeneratedRegex("^ +(?<name>\\w+) = (?<value>\\d+),$", RegexOptions.Multiline)]
    private static partial Regex ResultValue();
}
