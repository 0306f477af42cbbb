using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>All tests (<c>value is name</c>) by name.</summary>
internal static class TemplateTests
{
    // Before s_all, which reads it.
    private static readonly (string Symbol, string[] Names)[] s_orders =
        [("<", ["lt", "lessthan"]), ("<=", ["le"]), (">", ["gt", "greaterthan"]), (">=", ["ge"])];

    private static readonly Dictionary<string, Func<RenderContext, object?, Arguments, bool>> s_all = Collect();

    public static bool IsKnown(string name) => s_all.ContainsKey(name);

    public static bool Apply(RenderContext context, string name, object? value, Arguments arguments)
    {
        Func<RenderContext, object?, Arguments, bool> test =
            s_all.GetValueOrDefault(name) ?? throw new ChatTemplateException($"No test named '{name}'.");
        return test(context, value, arguments.Bind(name, ["other"]));
    }

    private static Dictionary<string, Func<RenderContext, object?, Arguments, bool>> Collect()
    {
        Dictionary<string, Func<RenderContext, object?, Arguments, bool>> all = new(StringComparer.Ordinal)
        {
            ["defined"] = (_, v, _) => v is not Undefined,
            ["undefined"] = (_, v, _) => v is Undefined,
            ["none"] = (_, v, _) => v is null,
            ["boolean"] = (_, v, _) => v is bool,
            ["true"] = (_, v, _) => v is true,
            ["false"] = (_, v, _) => v is false,
            ["integer"] = (_, v, _) => Numbers.IsInteger(v) && v is not bool,
            ["float"] = (_, v, _) => v is double,
            ["number"] = (_, v, _) => Numbers.IsNumber(v),
            ["string"] = (_, v, _) => v is string,
            ["mapping"] = (_, v, _) => v is TemplateDict,
            ["iterable"] = (_, v, _) => Iteration.IsIterable(v),
            ["sequence"] = (_, v, _) => v is string or TemplateDict or Undefined or TemplateSequence { IsIndexable: true },
            ["callable"] = (_, v, _) => v is TemplateCallable or Undefined or LoopState,
            ["escaped"] = (_, _, _) => false,
            ["lower"] = (c, v, _) => IsAll(c, v, upper: false),
            ["upper"] = (c, v, _) => IsAll(c, v, upper: true),
            ["odd"] = (c, v, _) => Remainder(c, v, 2L, 1),
            ["even"] = (c, v, _) => Remainder(c, v, 2L, 0),
            ["divisibleby"] = (c, v, a) => Remainder(c, v, a.Required(0, "divisibleby"), 0),
            ["filter"] = (_, v, _) => v is string name && Filters.IsKnown(name),
            ["test"] = (_, v, _) => v is string name && IsKnown(name),
            ["sameas"] = (_, v, a) => ReferenceEquals(v, a.Required(0, "sameas")) || (v is bool or long && v.Equals(a.Get(0))),
            ["in"] = (c, v, a) => Comparison.Contains(c.Budget, a.Required(0, "in"), v),
            ["=="] = (c, v, a) => Comparison.AreEqual(c.Budget, v, a.Required(0, "eq")),
            ["!="] = (c, v, a) => !Comparison.AreEqual(c.Budget, v, a.Required(0, "ne")),
        };
        foreach ((string symbol, string[] names) in s_orders)
        {
            all[symbol] = (c, v, a) => Comparison.Ordered(c.Budget, symbol, v, a.Required(0, symbol));
            foreach (string name in names)
            {
                all[name] = all[symbol];
            }
        }

        all["eq"] = all["equalto"] = all["=="];
        all["ne"] = all["!="];
        return all;
    }

    private static bool IsAll(RenderContext context, object? value, bool upper)
    {
        string text = PythonText.Str(context.Budget, value);
        context.Budget.Scan(text.Length);
        return CaseMapping.IsAll(text, upper);
    }

    private static bool Remainder(RenderContext context, object? value, object? divisor, long expected) =>
        Comparison.AreEqual(context.Budget, Arithmetic.Apply(context.Budget, "%", value is string ? null : value, divisor), expected);
}
