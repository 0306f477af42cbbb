using System.Diagnostics;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cpu;

/// <summary>
/// Runs the conformance suite again in child processes whose runtime is told to leave instruction sets alone, so that the code for
/// processors without them is tested on one that has them.
/// </summary>
public sealed class InstructionSetTests
{
    /// <summary>Names the width that a child run must find; absent in a plain run.</summary>
    private const string ExpectedBits = "KERNEL_TESTS_VECTOR_BITS";

    private readonly ITestOutputHelper _output;

    public InstructionSetTests(ITestOutputHelper output) => _output = output;

    [Fact]
    public void The_widest_vectors_are_those_that_this_run_allows()
    {
        string? expected = Environment.GetEnvironmentVariable(ExpectedBits);
        int bits = CpuTestBackend.WidestBits;

        Assert.Contains(bits, new[] { 32, 128, 256, 512 });
        Assert.Equal(expected ?? bits.ToString(CultureInfo.InvariantCulture), bits.ToString(CultureInfo.InvariantCulture));
    }

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData("DOTNET_EnableAVX512", 256)]
    [InlineData("DOTNET_EnableAVX2", 128)]
    [InlineData("DOTNET_EnableHWIntrinsic", 32)]
    public async Task The_conformance_suite_passes_without_an_instruction_set(string variable, int expectedBits)
    {
        // A processor that is narrower anyway finds its own width.
        int bits = Math.Min(expectedBits, CpuTestBackend.WidestBits);
        ProcessStartInfo start = new("dotnet")
        {
            ArgumentList =
            {
                "test",
                typeof(InstructionSetTests).Assembly.Location,
                "--filter",
                "FullyQualifiedName~With512Bits|FullyQualifiedName~The_widest_vectors|FullyQualifiedName~VectorMathTests",
            },
            Environment = { [variable] = "0", [ExpectedBits] = bits.ToString(CultureInfo.InvariantCulture) },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        using Process child = Process.Start(start)!;
        Task<string> errors = child.StandardError.ReadToEndAsync();
        string text = await child.StandardOutput.ReadToEndAsync();
        await child.WaitForExitAsync();
        text += await errors;

        _output.WriteLine($"{variable}=0, {bits} bits: {text}");
        Assert.True(child.ExitCode == 0, $"{variable}=0: {text}");
        Assert.Contains("Passed!", text, StringComparison.Ordinal);
    }
}
