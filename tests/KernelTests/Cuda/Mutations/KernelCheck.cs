using System.Reflection;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Sdk;

namespace InferenceServer.KernelTests.Cuda.Mutations;

/// <summary>One test of the CUDA backend, run outside of the test runner: on a kernel with something taken out it should fail.</summary>
internal sealed class KernelCheck
{
    private readonly MethodInfo _method;
    private readonly Type _class;
    private readonly object?[] _arguments;

    private KernelCheck(Type type, MethodInfo method, object?[] arguments, int number)
    {
        _class = type;
        _method = method;
        _arguments = arguments;
        Case = number;
    }

    /// <summary>The test without its arguments.</summary>
    public string Method => $"{_class.Name}.{_method.Name}";

    /// <summary>The test's class.</summary>
    public Type Class => _class;

    /// <summary>Which of a theory's cases, from 0.</summary>
    public int Case { get; }

    /// <summary>The test's name, with its arguments.</summary>
    public string Name => $"{Method}({string.Join(", ", _arguments)})";

    /// <summary>All tests on the stand-in in this assembly, but those of the stand-in itself and the one that takes places out. Who writes a test has registered it here.</summary>
    /// <param name="casesOfATheory">Of a theory the first so many.</param>
    public static IReadOnlyList<KernelCheck> All(int casesOfATheory) =>
    [
        .. typeof(KernelCheck).Assembly.GetTypes()
            .Where(type => !type.IsAbstract && type.GetConstructor([]) is not null && IsOfBackend(type))
            .OrderBy(type => type.FullName, StringComparer.Ordinal)
            .SelectMany(type => type.GetMethods().SelectMany(method => ChecksOf(type, method).Take(casesOfATheory))),
    ];

    /// <summary>Runs the test on a new instance of its class.</summary>
    /// <returns>Why it failed, or null when it passed.</returns>
    public string? Run()
    {
        object? instance = null;
        try
        {
            instance = Activator.CreateInstance(_class);
            (_method.Invoke(instance, _arguments) as Task)?.GetAwaiter().GetResult();
            return null;
        }
        catch (TargetInvocationException e)
        {
            return FirstLine(e.InnerException ?? e);
        }
        finally
        {
            StandIn.Reset();
            (instance as IDisposable)?.Dispose();
        }
    }

    private static bool IsOfBackend(Type type)
    {
        CustomAttributeData? collection = type.GetCustomAttributesData().FirstOrDefault(data => data.AttributeType == typeof(CollectionAttribute));
        return collection?.ConstructorArguments[0].Value is StandInCollection.Name && type.Namespace is { } place
            && !place.EndsWith(".StandIns", StringComparison.Ordinal) && !place.EndsWith(".Ptx", StringComparison.Ordinal) && type != typeof(MutationTests);
    }

    private static IEnumerable<KernelCheck> ChecksOf(Type type, MethodInfo method) => method.GetCustomAttribute<FactAttribute>() switch
    {
        null => [],
        TheoryAttribute => method.GetCustomAttributes<DataAttribute>()
            .SelectMany(data => data.GetData(method))
            .Select((row, i) => new KernelCheck(type, method, row, i)),
        _ => [new KernelCheck(type, method, [], 0)],
    };

    private static string FirstLine(Exception e) => $"{e.GetType().Name}: {e.Message.Split('\n')[0]}";
}
