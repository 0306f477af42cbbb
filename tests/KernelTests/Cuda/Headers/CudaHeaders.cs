using System.Diagnostics;

namespace InferenceServer.KernelTests.Cuda.Headers;

/// <summary>
/// The headers of an installed CUDA (cuda.h, nvrtc.h, cublasLt.h), which say what a C compiler would pass and expect. They need no GPU; the
/// folder is <c>CUDA_HEADERS</c>, or where the toolkit puts them.
/// </summary>
internal static class CudaHeaders
{
    // Same<F, G>: two functions are called alike. A 64-bit number may stand for a pointer; what void* points to is not compared.
    private const string Prelude = """
        #include <cstddef>
        #include <cstdint>
        #include <type_traits>
        #include <cuda.h>
        #include <nvrtc.h>
        #include <cublasLt.h>

        template <class T> constexpr bool opaque = std::is_void<T>::value || std::is_function<T>::value || std::is_class<T>::value;

        template <class A, class B> constexpr bool alike()
        {
            if constexpr (std::is_pointer<A>::value && std::is_pointer<B>::value)
            {
                using P = std::remove_cv_t<std::remove_pointer_t<A>>;
                using Q = std::remove_cv_t<std::remove_pointer_t<B>>;
                if constexpr (opaque<P> || opaque<Q>)
                {
                    return true;
                }
                else
                {
                    return alike<P, Q>();
                }
            }
            else
            {
                return sizeof(A) == sizeof(B) && std::is_floating_point<A>::value == std::is_floating_point<B>::value;
            }
        }

        template <class F, class G> struct Same : std::false_type {};

        template <class R, class... A, class S, class... B> struct Same<R(A...), S(B...)>
        {
            static constexpr bool get()
            {
                if constexpr (sizeof...(A) != sizeof...(B))
                {
                    return false;
                }
                else
                {
                    return alike<R, S>() && (alike<A, B>() && ...);
                }
            }

            static constexpr bool value = get();
        };

        """;

    private static readonly string[] s_folders =
        [Environment.GetEnvironmentVariable("CUDA_HEADERS") ?? "", "/usr/local/cuda/include", "/usr/include"];

    /// <summary>Why there are none; null where there are.</summary>
    public static string? WhyMissing { get; } =
        Folder is null ? "no cublasLt.h in CUDA_HEADERS, /usr/local/cuda/include or /usr/include (Debian non-free: nvidia-cuda-dev)" : null;

    private static string? Folder => Array.Find(s_folders, folder => folder.Length > 0 && File.Exists(Path.Combine(folder, "cublasLt.h")));

    /// <summary>Declares a function of ours and asserts that it is called as the header's of the same name.</summary>
    public static string SameFunction(string name, string result, string parameters) =>
        $"namespace ours {{ {result} {name}({parameters}); }}\nstatic_assert(Same<decltype(ours::{name}), decltype(::{name})>::value, \"{name}\");\n";

    /// <summary>What a C++ compiler says of assertions behind the headers; empty when they hold.</summary>
    public static string ErrorsOf(string assertions)
    {
        ProcessStartInfo start = new("g++", ["-std=c++20", "-fsyntax-only", "-w", $"-I{Folder}", "-x", "c++", "-"])
        {
            RedirectStandardInput = true,
            RedirectStandardError = true,
        };
        using Process compiler = Process.Start(start)!;
        Task<string> errors = compiler.StandardError.ReadToEndAsync();
        compiler.StandardInput.Write(Prelude + assertions);
        compiler.StandardInput.Close();
        compiler.WaitForExit();
        return compiler.ExitCode == 0 ? "" : errors.Result;
    }
}
