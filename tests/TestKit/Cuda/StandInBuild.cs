using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace InferenceServer.TestKit.Cuda;

/// <summary>
/// Compiles the kernels and the stand-in (tests/CudaStandIn) into one library that goes by the names of libcuda, NVRTC and cuBLASLt. What was
/// compiled is kept in tests/CudaStandIn/obj, object by object under the hash of its sources, so that a changed kernel costs one compilation.
/// </summary>
internal sealed partial class StandInBuild
{
    private static readonly string[] s_names = ["libcuda.so.1", "libnvrtc.so.12", "libcublasLt.so.12"];

    private static readonly TimeSpan s_keptFor = TimeSpan.FromDays(7);

    // No contraction to fused multiply-adds and no cleverness about bounds and aliases: the kernels are to do here what their text says.
    private static readonly string[] s_options =
    [
        "-std=c++20", "-O2", "-march=native", "-fPIC", "-fvisibility=hidden", "-ftls-model=initial-exec", "-ffp-contract=off",
        "-fno-strict-aliasing", "-fno-aggressive-loop-optimizations", "-g1",
    ];

    private static readonly string[] s_kernelOptions =
        ["-w", "-DCPU_SHIM", "-fsanitize=alignment,bounds,shift-exponent,integer-divide-by-zero"];

    // What it does to the lanes of a warp is to become vector instructions.
    private static readonly string[] s_interpreterOptions = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-restrict"];

    private readonly string _sources;
    private readonly string _kernels;
    private readonly string _objects;
    private readonly string _compiler;

    /// <param name="repository">The repository's root.</param>
    public StandInBuild(string repository)
    {
        _sources = Path.Combine(repository, "tests", "CudaStandIn");
        _kernels = Path.Combine(repository, "src", "Cuda", "Kernels");
        _objects = Path.Combine(_sources, "obj");
        _compiler = Run("g++", ["--version"], Path.GetTempPath()).Split('\n')[0];
    }

    /// <summary>Builds what has changed.</summary>
    /// <returns>The folder of the libraries.</returns>
    public string Build()
    {
        Directory.CreateDirectory(_objects);

        // Other test projects may build at the same time.
        using FileStream alone = WaitFor(Path.Combine(_objects, "lock"));
        string[] objects = [.. Units().AsParallel().AsOrdered().WithDegreeOfParallelism(Environment.ProcessorCount).Select(Compile)];
        RemoveOld();
        string folder = Path.Combine(_objects, HashOf(string.Join('\n', objects)));
        string library = Path.Combine(folder, s_names[0]);
        if (!File.Exists(library))
        {
            Directory.CreateDirectory(folder);
            string aside = library + ".new";
            Run("g++", ["-shared", "-o", aside, .. objects, "-lpthread", "-ldl"], _objects);
            foreach (string name in s_names[1..])
            {
                File.Delete(Path.Combine(folder, name));
                File.CreateSymbolicLink(Path.Combine(folder, name), s_names[0]);
            }

            File.Move(aside, library);
        }

        Directory.SetLastWriteTimeUtc(folder, DateTime.UtcNow);
        return folder;
    }

    /// <summary>Every file to compile: its name, its text, and the options beyond those of all.</summary>
    private IEnumerable<(string Name, string Text, string[] Options)> Units()
    {
        foreach (string file in Files(_sources, "*.cpp").Where(file => !file.StartsWith(_objects, StringComparison.Ordinal)))
        {
            string[] options = file.StartsWith(Path.Combine(_sources, "ptx"), StringComparison.Ordinal) ? s_interpreterOptions : [];
            yield return (Path.GetFileName(file), $"#include \"{file}\"\n", ["-Wall", "-Wextra", .. options]);
        }

        foreach (string file in (string[])[.. Files(_kernels, "*.cu"), .. Files(Path.Combine(_sources, "samples"), "*.cu")])
        {
            foreach (string variant in Variants(File.ReadAllText(file)))
            {
                yield return (Path.GetFileName(file), Wrapped(file, variant), [.. s_kernelOptions, .. Defines(variant)]);
            }
        }
    }

    /// <summary>
    /// A kernel file within a namespace of its own, so that no two files' helpers are taken for one, with its kernels renamed for the same
    /// reason, and a line for each that makes it known.
    /// </summary>
    private string Wrapped(string file, string variant)
    {
        string text = File.ReadAllText(file), name = Path.GetFileName(file);
        string[] scan = ["-E", "-P", "-x", "c++", "-std=c++20", "-DCPU_SHIM", "-DSHIM_SCAN", .. Defines(variant), .. Includes(), file];
        List<(string Name, string Bound)> kernels =
            [.. Kernel().Matches(Run("g++", scan, _objects)).Select(match => (match.Groups["name"].Value, BoundOf(match.Groups["head"].Value)))];
        if (kernels.Count == 0)
        {
            throw new InvalidOperationException($"{name} has no extern \"C\" __global__ function");
        }

        string unit = $"{Path.GetFileNameWithoutExtension(name)}_{HashOf(variant)[..6]}";
        StringBuilder source = new("#include \"shim.h\"\n");
        foreach ((string kernel, _) in kernels)
        {
            source.Append(CultureInfo.InvariantCulture, $"#define {kernel} {unit}_{kernel}\n");
        }

        source.Append(CultureInfo.InvariantCulture, $"namespace\n{{\n#include \"{file}\"\n");
        foreach ((string kernel, _) in kernels)
        {
            source.Append(CultureInfo.InvariantCulture, $"#undef {kernel}\n");
        }

        foreach ((string kernel, string bound) in kernels)
        {
            source.Append(CultureInfo.InvariantCulture, $"SHIM_KERNEL(\"{name}\", \"{kernel}\", {unit}_{kernel}, \"{variant}\", {bound})\n");
        }

        source.Append(CultureInfo.InvariantCulture, $"SHIM_SOURCE(\"{name}\", {Fnv(text)}ull)\n}}\n");
        return source.ToString();
    }

    private string Compile((string Name, string Text, string[] Options) unit)
    {
        string[] options = [.. s_options, .. unit.Options];
        string key = HashOf($"{_compiler}\n{ProcessorFlags()}\n{string.Join(' ', options)}\n{unit.Text}\n{TextsBehind(unit.Text)}");
        string stem = Path.Combine(_objects, $"{Path.GetFileNameWithoutExtension(unit.Name)}-{key}"), target = stem + ".o";
        if (!File.Exists(target))
        {
            string source = stem + ".cpp", aside = stem + ".new";
            File.WriteAllText(source, unit.Text);
            Run("g++", [.. options, .. Includes(), "-c", source, "-o", aside], _objects);
            File.Move(aside, target, overwrite: true);
        }

        File.SetLastWriteTimeUtc(target, DateTime.UtcNow);
        return target;
    }

    /// <summary>Removes what has not been used for long.</summary>
    private void RemoveOld()
    {
        DateTime limit = DateTime.UtcNow - s_keptFor;
        foreach (string old in Directory.GetFiles(_objects, "*-*").Where(file => File.GetLastWriteTimeUtc(file) < limit))
        {
            File.Delete(old);
        }

        foreach (string old in Directory.GetDirectories(_objects).Where(folder => Directory.GetLastWriteTimeUtc(folder) < limit))
        {
            Directory.Delete(old, recursive: true);
        }
    }

    private string[] Includes() => ["-I", Path.Combine(_sources, "shim"), "-I", _kernels];

    private static IEnumerable<string> Files(string folder, string pattern) =>
        Directory.GetFiles(folder, pattern, SearchOption.AllDirectories).Order(StringComparer.Ordinal);

    /// <summary>The included file and all headers it can see: any of them may change what is compiled.</summary>
    private string TextsBehind(string unit)
    {
        string[] headers = unit.Contains("SHIM_KERNEL", StringComparison.Ordinal)
            ? [.. Files(Path.Combine(_sources, "shim"), "*.h"), .. Files(_kernels, "*.cuh")]
            : [.. Files(_sources, "*.h")];
        return string.Concat(
            Include().Matches(unit).Select(match => match.Groups[1].Value).Where(Path.IsPathRooted)
                .Concat(headers)
                .Select(File.ReadAllText));
    }

    /// <summary>The sets of macros that a file says it is compiled with, in the form "A=1 B=2"; one empty set where it says nothing.</summary>
    private static string[] Variants(string text)
    {
        Match line = VariantLine().Match(text);
        return line.Success
            ? [.. line.Groups[1].Value.Split('|').Select(set => string.Join(' ', Words(set).Order(StringComparer.Ordinal)))]
            : [""];
    }

    private static IEnumerable<string> Defines(string variant) => Words(variant).Select(define => "-D" + define);

    private static string[] Words(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static string BoundOf(string head)
    {
        Match bound = LaunchBound().Match(head);
        return bound.Success ? bound.Groups[1].Value : "1024";
    }

    private static string ProcessorFlags() => File.Exists("/proc/cpuinfo")
        ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("flags", StringComparison.Ordinal)) ?? ""
        : "";

    private static FileStream WaitFor(string file)
    {
        for (Stopwatch waited = Stopwatch.StartNew(); ;)
        {
            try
            {
                return new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (waited.Elapsed < TimeSpan.FromMinutes(5))
            {
                Thread.Sleep(50);
            }
        }
    }

    private static string HashOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];

    /// <summary>FNV-1a, as nvrtc.cpp forms it of the text that the backend hands over.</summary>
    private static ulong Fnv(string text) =>
        Encoding.UTF8.GetBytes(text).Aggregate(14695981039346656037ul, (hash, value) => unchecked((hash ^ value) * 1099511628211ul));

    private static string Run(string program, IEnumerable<string> arguments, string folder)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException($"{program} ended with {process.ExitCode}:\n{errors.Result}");
    }

    [GeneratedRegex(
        "extern\\s+\"C\"\\s+(?<head>(?:(?!extern|[{;]).)*?shim_global(?:(?![{;]).)*?)\\b(?<name>(?!shim_)\\w+)\\s*\\((?!\\s*\\()",
        RegexOptions.Singleline)]
    private static partial Regex Kernel();

    [GeneratedRegex("shim_launch_bounds\\(([^,)]*)")]
    private static partial Regex LaunchBound();

    [GeneratedRegex("#include \"([^\"]+)\"")]
    private static partial Regex Include();

    [GeneratedRegex("^// variants: (.*)$", RegexOptions.Multiline)]
    private static partial Regex VariantLine();
}
