using System.Globalization;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Memory;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

public sealed class HugePagesTests
{
    [HugePagesFact]
    public unsafe void Large_memory_asks_for_huge_pages_unless_they_are_off()
    {
        using CpuBuffer wanted = new(8 << 20, "wanted");
        using CpuBuffer refused = new(8 << 20, "refused", hugePages: false);

        // VmFlags: hg is MADV_HUGEPAGE, nh MADV_NOHUGEPAGE (proc_pid_smaps(5)).
        Assert.Contains(" hg", FlagsAt((ulong)wanted.Pointer), StringComparison.Ordinal);
        Assert.Contains(" nh", FlagsAt((ulong)refused.Pointer), StringComparison.Ordinal);
    }

    [Fact]
    public void The_description_says_what_was_got()
    {
        using CpuBackend off = new(new CpuOptions { ThreadCount = 1, HugePages = false });
        using CpuBackend on = new(new CpuOptions { ThreadCount = 1 });

        Assert.EndsWith("huge pages off", off.Description, StringComparison.Ordinal);
        Assert.Contains("huge pages", on.Description, StringComparison.Ordinal);
        Assert.DoesNotContain("huge pages off", on.Description, StringComparison.Ordinal);
    }

    [Fact]
    public void Usage_is_read_in_mebibytes()
    {
        Assert.Equal("2156 MiB in huge pages", HugePages.Describe(["Rss:   4194304 kB", "AnonHugePages:   2205696 kB", "FilePmdMapped:   2048 kB", "Swap: 0 kB"]));
        Assert.Equal("no huge pages known of", HugePages.Describe(["Rss:   4194304 kB"]));
    }

    private static string FlagsAt(ulong address)
    {
        bool inside = false;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            string[] range = line.Split(' ')[0].Split('-');
            if (range.Length == 2 && TryParse(range[0], out ulong first) && TryParse(range[1], out ulong end))
            {
                inside = address >= first && address < end;
            }
            else if (inside && line.StartsWith("VmFlags:", StringComparison.Ordinal))
            {
                return line;
            }
        }

        return "no mapping";
    }

    private static bool TryParse(string text, out ulong value) => ulong.TryParse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out value);
}

/// <summary>A test that needs a kernel with transparent huge pages; skipped elsewhere.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class HugePagesFactAttribute : FactAttribute
{
    private const string Switch = "/sys/kernel/mm/transparent_hugepage/enabled";

    public HugePagesFactAttribute() => Skip = File.Exists(Switch) ? null : $"the system has no {Switch}";
}
