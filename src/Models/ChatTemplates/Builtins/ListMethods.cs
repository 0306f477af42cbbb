using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>The methods of lists and tuples. Those that would change one are known, but may not be called.</summary>
internal static class ListMethods
{
    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["index"] = new((c, v, a) => IndexOf(c, v, a.Required(0, "index")), "value"),
        ["count"] = new((c, v, a) =>
            (long)Iteration.ItemsOf(c.Budget, v).Count(item => Comparison.AreEqual(c.Budget, item, a.Required(0, "count"))), "value"),
        ["copy"] = new((_, v, _) => v),
        ["append"] = Refused("append"),
        ["clear"] = Refused("clear"),
        ["extend"] = Refused("extend"),
        ["insert"] = Refused("insert"),
        ["pop"] = Refused("pop"),
        ["remove"] = Refused("remove"),
        ["reverse"] = Refused("reverse"),
        ["sort"] = Refused("sort"),
    };

    private static Method Refused(string name) =>
        new((_, _, _) => throw new ChatTemplateException($"access to attribute '{name}' of 'list' object is unsafe."), null);

    private static long IndexOf(RenderContext context, object? list, object? value)
    {
        int at = Array.FindIndex(Iteration.ItemsOf(context.Budget, list), item => Comparison.AreEqual(context.Budget, item, value));
        return at >= 0 ? at : throw new ChatTemplateException($"{PythonText.Repr(context.Budget, value)} is not in list");
    }
}
