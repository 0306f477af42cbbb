using System.Globalization;
using System.Reflection;
using System.Text.Json;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Sdk;

namespace InferenceServer.Benchmarks.Gpu.Conformance;

/// <summary>
/// Runs a backend's tests where there is no test host: facts and theories of classes that derive from the conformance suites in TestKit, and of
/// CUDA those that are written for the stand-in and need nothing of its own; one after the other in a fixed order, each on an instance of its own.
/// </summary>
internal static class ConformanceRunner
{
    /// <summary>The command of the tests' own process.</summary>
    public const string Command = "gpu-tests";

    private const string Suites = "InferenceServer.TestKit.Conformance";

    // They test the stand-in itself, with kernels that go wrong.
    private const string OfStandIn = "StandIns";

    /// <summary>Runs tests of an assembly and writes an outcome a line.</summary>
    /// <param name="arguments">Path of the assembly; a part of the namespace, Cuda or Cpu; the first test to run.</param>
    /// <returns>0, or 1 when the device was lost and later tests were not run.</returns>
    public static int Run(string[] arguments)
    {
        // A context is made when its first user comes and taken down with the last; for each test anew that would be most of the time.
        using CudaDevice? kept = CudaHardware.IsAsked ? Open() : null;
        (Type Type, MethodInfo Method, object?[] Arguments, string? Skip)[] tests =
            [.. TypesOf(arguments[0]).Where(type => IsOf(type, arguments[1])).OrderBy(type => type.FullName, StringComparer.Ordinal).SelectMany(TestsOf)];
        for (int i = int.Parse(arguments[2], CultureInfo.InvariantCulture); i < tests.Length; i++)
        {
            Exception? error = tests[i].Skip is null ? Run(tests[i].Type, tests[i].Method, tests[i].Arguments) : null;
            string result = tests[i].Skip is not null || error is StandInOnlyException ? TestOutcome.Skipped : error is null ? TestOutcome.Passed : TestOutcome.Failed;
            string message = tests[i].Skip ?? (error is null ? "" : $"{error.GetType().Name}: {error.Message.ReplaceLineEndings(" ")}");
            Console.WriteLine(JsonSerializer.Serialize(new TestOutcome(i, tests.Length, Name(tests[i]), result, message)));
            for (Exception? cause = error; cause is not null; cause = cause.InnerException)
            {
                if (cause is DeviceLostException)
                {
                    return 1;
                }
            }
        }

        return 0;
    }

    private static CudaDevice? Open()
    {
        NativeLibraries.SearchFirst("");
        return CudaDevice.TryOpen(0, out CudaDevice? device, out _) ? device : null;
    }

    private static Type[] TypesOf(string path)
    {
        try
        {
            return Assembly.LoadFrom(path).GetTypes();
        }
        catch (ReflectionTypeLoadException partly)
        {
            // Classes that need a package which is not packed (property tests) are none of the conformance classes.
            return [.. partly.Types.OfType<Type>()];
        }
    }

    private static bool IsOf(Type type, string library)
    {
        string[] parts = type.Namespace?.Split('.') ?? [];
        return type is { IsAbstract: false, IsPublic: true } && parts.Contains(library) && !parts.Contains(OfStandIn) && type.GetConstructor(Type.EmptyTypes) is not null;
    }

    private static bool IsConformance(Type type)
    {
        for (Type? parent = type.BaseType; parent is not null; parent = parent.BaseType)
        {
            if (parent.Namespace == Suites)
            {
                return true;
            }
        }

        return false;
    }

    private static IEnumerable<(Type Type, MethodInfo Method, object?[] Arguments, string? Skip)> TestsOf(Type type)
    {
        foreach (MethodInfo method in type.GetMethods(BindingFlags.Instance | BindingFlags.Public).OrderBy(method => method.Name, StringComparer.Ordinal))
        {
            if (method.GetCustomAttribute<FactAttribute>() is not { } fact
                || !(IsConformance(type) || fact is StandInFactAttribute or StandInTheoryAttribute))
            {
                continue;
            }

            DataAttribute[] data = [.. method.GetCustomAttributes<DataAttribute>()];
            foreach (object?[] row in fact is TheoryAttribute ? data.SelectMany(source => source.GetData(method)) : [[]])
            {
                yield return (type, method, row, fact.Skip);
            }
        }
    }

    private static Exception? Run(Type type, MethodInfo method, object?[] arguments)
    {
        object? instance = null;
        try
        {
            instance = Activator.CreateInstance(type);
            (method.Invoke(instance, arguments) as Task)?.GetAwaiter().GetResult();
            return null;
        }
        catch (TargetInvocationException error)
        {
            return error.InnerException;
        }
        catch (Exception error)
        {
            return error;
        }
        finally
        {
            Dispose(instance);
        }
    }

    private static void Dispose(object? instance)
    {
        try
        {
            (instance as IDisposable)?.Dispose();
        }
        catch (Exception error) when (error is DeviceLostException or StandInOnlyException)
        {
            // The test has ended with the same.
        }
    }

    private static string Name((Type Type, MethodInfo Method, object?[] Arguments, string? Skip) test)
    {
        string arguments = string.Join(", ", test.Arguments.Select(argument => Convert.ToString(argument, CultureInfo.InvariantCulture)));
        return $"{test.Type.Name}.{test.Method.Name}{(arguments.Length > 0 ? $"({arguments})" : "")}";
    }
}
