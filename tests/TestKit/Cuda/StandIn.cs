using System.Runtime.InteropServices;

namespace InferenceServer.TestKit.Cuda;

/// <summary>
/// The stand-in for CUDA's libraries: kernels run on the processor, so that the CUDA backend is tested without a GPU. See
/// tests/CudaStandIn/README.md. What is set here holds for the whole process, so tests that set anything belong to the collection
/// <see cref="StandInCollection"/>.
/// </summary>
public static unsafe class StandIn
{
    private static readonly Lazy<(string? Folder, string? Reason)> s_built = new(Build);
    private static readonly Lazy<nint> s_library = new(() => NativeLibrary.Load(Path.Combine(Folder, "libcuda.so.1")));

    /// <summary>The folder that holds the libraries, for <c>CUDA_LIBRARY_PATH</c>; builds them at the first call.</summary>
    /// <exception cref="InvalidOperationException">They cannot be built; the message says why.</exception>
    public static string Folder => CudaHardware.IsAsked
        ? throw new StandInOnlyException("the stand-in's folder")
        : s_built.Value.Folder ?? throw new InvalidOperationException(s_built.Value.Reason);

    /// <summary>Why the stand-in cannot be had here (no g++, another system); null where it can. Kernels that do not compile are no reason.</summary>
    public static string? WhyMissing { get; } = FindReason();

    /// <summary>What has been done so far.</summary>
    public static StandInCounters Counters
    {
        get
        {
            StandInCounters counters;
            ((delegate* unmanaged<StandInCounters*, void>)Export("standin_counters"))(&counters);
            return counters;
        }
    }

    /// <summary>What the last failed call or kernel did wrong.</summary>
    public static string LastError => Text("standin_last_error");

    /// <summary>How often each kernel ran since <see cref="ResetCounters"/>.</summary>
    public static IReadOnlyDictionary<string, long> KernelRuns => Text("standin_kernel_runs")
        .Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => line.Split(' '))
        .ToDictionary(words => words[0], words => long.Parse(words[1]), StringComparer.Ordinal);

    /// <summary>Sets everything as it is at the start, and ends a sticky error. What is allocated stays. On a device there is nothing to set.</summary>
    public static void Reset()
    {
        if (!CudaHardware.IsAsked)
        {
            ((delegate* unmanaged<void>)Export("standin_reset"))();
        }
    }

    /// <summary>Sets the counts of what happened to zero; on a device nothing is counted.</summary>
    public static void ResetCounters()
    {
        if (!CudaHardware.IsAsked)
        {
            ((delegate* unmanaged<void>)Export("standin_reset_counters"))();
        }
    }

    /// <summary>The order in which a block's threads run from now on.</summary>
    public static void SetSchedule(KernelSchedule schedule) => ((delegate* unmanaged<int, void>)Export("standin_set_schedule"))((int)schedule);

    /// <summary>When the work given to streams is done from now on.</summary>
    public static void SetOrder(StreamOrder order, ulong seed = 1) =>
        ((delegate* unmanaged<int, ulong, void>)Export("standin_set_order"))((int)order, seed);

    /// <summary>The device's memory; 256 MiB at the start.</summary>
    public static void SetMemory(long byteCount) => ((delegate* unmanaged<ulong, void>)Export("standin_set_memory"))((ulong)byteCount);

    /// <summary>
    /// From now on backends that are made have their kernels compiled by NVIDIA's own NVRTC, and the PTX that it makes is interpreted, in place of the
    /// kernels that the stand-in was built with. Not changed by <see cref="Reset"/>.
    /// </summary>
    /// <param name="folder">The folder of libnvrtc and its builtins; empty for the stand-in's kernels.</param>
    /// <param name="architecture">What to compile for, such as "compute_80".</param>
    public static void UseNvrtc(string folder, string architecture)
    {
        nint first = Marshal.StringToCoTaskMemUTF8(folder), second = Marshal.StringToCoTaskMemUTF8(architecture);
        ((delegate* unmanaged<nint, nint, void>)Export("standin_set_nvrtc"))(first, second);
        Marshal.FreeCoTaskMem(first);
        Marshal.FreeCoTaskMem(second);
    }

    /// <summary>Changes the PTX of modules that are loaded from now on, for mutation tests.</summary>
    /// <param name="with">What a line must have in it; empty to load them as they are.</param>
    /// <param name="what">A regular expression, as ECMAScript has them.</param>
    /// <param name="by">What comes in the place of all that it finds in the line.</param>
    public static void EditPtx(string with, string what, string by)
    {
        nint[] texts = [Marshal.StringToCoTaskMemUTF8(with), Marshal.StringToCoTaskMemUTF8(what), Marshal.StringToCoTaskMemUTF8(by)];
        ((delegate* unmanaged<nint, nint, nint, void>)Export("standin_edit_ptx"))(texts[0], texts[1], texts[2]);
        Array.ForEach(texts, Marshal.FreeCoTaskMem);
    }

    /// <summary>
    /// Which products of PTX that is loaded from now on are fused with the sums that they go into where neither says how it is rounded, as ptxas may do or
    /// leave.
    /// </summary>
    /// <param name="seed">0 for none, 1 for all, and others by chance.</param>
    public static void ContractPtx(uint seed) => ((delegate* unmanaged<uint, void>)Export("standin_contract_ptx"))(seed);

    /// <summary>How many lines <see cref="EditPtx"/> has changed since it was called.</summary>
    public static long PtxEdits => ((delegate* unmanaged<long>)Export("standin_ptx_edits"))();

    /// <summary>The kernels of the modules of PTX that were loaded so far.</summary>
    public static IReadOnlyList<string> PtxKernels => Text("standin_ptx_kernels").Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>
    /// Takes a part of device memory from its owner: whatever a kernel, copy or fill does there afterwards, or does late, is an illegal address.
    /// </summary>
    /// <param name="address">Within one allocation; whole pages of 4096 bytes.</param>
    /// <param name="byteCount">Bytes.</param>
    public static void Forbid(ulong address, long byteCount) => Own("standin_forbid", address, byteCount);

    /// <summary>Gives a part that was forbidden, whole, to an owner, who finds NaN there.</summary>
    public static void Allow(ulong address, long byteCount) => Own("standin_allow", address, byteCount);

    /// <summary>Blocks of one launch run on so many threads of the system; 1 at the start.</summary>
    public static void SetThreads(int count) => ((delegate* unmanaged<int, void>)Export("standin_set_threads"))(count);

    /// <summary>
    /// Ends a kernel that takes more processor time, 0 for none: for kernels that something was taken out of, which may go on for ever.
    /// </summary>
    public static void SetTimeLimit(int seconds) => ((delegate* unmanaged<int, void>)Export("standin_set_time_limit"))(seconds);

    /// <summary>Makes the n-th call of a kind from now on fail; 1 is the next.</summary>
    /// <param name="call">Which calls.</param>
    /// <param name="nth">Counted from 1; 0 takes it back.</param>
    /// <param name="code">CUresult. 700, 702, 710, 714 to 719 and the like make every later call fail with the same code until <see cref="Reset"/>.</param>
    public static void Fail(DriverCall call, long nth, int code) =>
        ((delegate* unmanaged<int, long, int, void>)Export("standin_inject"))((int)call, nth, code);

    /// <summary>Runs an action and tells which places of the kernels (barriers, waits, masks) it came by.</summary>
    /// <returns>Places in the form "kernel file:line:column what".</returns>
    public static IReadOnlyList<string> SitesReachedBy(Action action)
    {
        ((delegate* unmanaged<int, void>)Export("standin_record_sites"))(1);
        try
        {
            action();
            return Text("standin_recorded_sites").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        }
        finally
        {
            ((delegate* unmanaged<int, void>)Export("standin_record_sites"))(0);
        }
    }

    /// <summary>Takes a place out of its kernel, or of all with "*" for the kernel's name; empty puts it back.</summary>
    public static void Omit(string site)
    {
        nint text = Marshal.StringToCoTaskMemUTF8(site);
        ((delegate* unmanaged<nint, void>)Export("standin_omit_site"))(text);
        Marshal.FreeCoTaskMem(text);
    }

    private static string? FindReason()
    {
        if (CudaHardware.IsAsked)
        {
            return null;
        }

        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture is not (Architecture.X64 or Architecture.Arm64))
        {
            return "the CUDA stand-in is for Linux on x64 and Arm64";
        }

        if (GoldenData.RepositoryRoot() is null)
        {
            return "the CUDA stand-in is built from the repository, which these tests run outside of";
        }

        string[] folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);
        return folders.Any(folder => File.Exists(Path.Combine(folder, "g++"))) ? null : "no g++ (Debian: g++), which builds the CUDA stand-in";
    }

    private static (string? Folder, string? Reason) Build() =>
        WhyMissing is { } reason ? (null, reason) : (new StandInBuild(GoldenData.RepositoryRoot()!).Build(), null);

    private static void Own(string function, ulong address, long byteCount)
    {
        int result = ((delegate* unmanaged<ulong, nuint, int>)Export(function))(address, (nuint)byteCount);
        if (result != 0)
        {
            throw new InvalidOperationException($"{function} of {byteCount} bytes at 0x{address:x}: not whole pages of one allocation, or not as it was");
        }
    }

    private static nint Export(string name) =>
        CudaHardware.IsAsked ? throw new StandInOnlyException(name) : NativeLibrary.GetExport(s_library.Value, name);

    private static string Text(string name) => Marshal.PtrToStringUTF8((nint)((delegate* unmanaged<byte*>)Export(name))()) ?? "";
}
