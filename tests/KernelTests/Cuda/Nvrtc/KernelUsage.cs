using System.Text.RegularExpressions;

namespace InferenceServer.KernelTests.Cuda.Nvrtc;

/// <summary>What a compiled kernel takes of a multiprocessor, as ptxas says it.</summary>
/// <param name="Kernel">The kernel.</param>
/// <param name="Registers">Of a thread.</param>
/// <param name="SharedBytes">Static shared memory of a block.</param>
/// <param name="StackBytes">Local memory of a thread, spills among it.</param>
/// <param name="SpillBytes">Registers stored to and loaded from local memory.</param>
internal sealed partial record KernelUsage(string Kernel, int Registers, int SharedBytes, int StackBytes, int SpillBytes)
{
    public override string ToString() =>
        $"{Kernel}: {Registers} registers, {SharedBytes} bytes of static shared memory, {StackBytes} of stack, {SpillBytes} spilled";

    /// <summary>The kernels of a log made with <c>--ptxas-options=-v</c>.</summary>
    public static IReadOnlyList<KernelUsage> OfLog(string log)
    {
        List<KernelUsage> all = [];
        foreach (Match match in Entry().Matches(log))
        {
            int Number(string group) => match.Groups[group].Success ? int.Parse(match.Groups[group].Value) : 0;
            int spilled = Number("stores") + Number("loads");
            all.Add(new KernelUsage(match.Groups["kernel"].Value, Number("registers"), Number("shared"), Number("stack"), spilled));
        }

        return all;
    }

    [GeneratedRegex(
        "Compiling entry function '(?<kernel>\\w+)'(?:(?!Compiling entry).)*?(?<stack>\\d+) bytes stack frame, (?<stores>\\d+) bytes spill stores, "
        + "(?<loads>\\d+) bytes spill loads(?:(?!Compiling entry).)*?Used (?<registers>\\d+) registers(?:[^\\n]*?(?<shared>\\d+) bytes smem)?",
        RegexOptions.Singleline)]
    private static partial Regex Entry();
}
