using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>All filters by name.</summary>
internal static class Filters
{
    private static readonly Dictionary<string, Method> s_all = Collect();

    public static bool IsKnown(string name) => s_all.ContainsKey(name);

    public static object? Apply(RenderContext context, string name, object? value, Arguments arguments)
    {
        Method filter = s_all.GetValueOrDefault(name) ?? throw new ChatTemplateException($"No filter named '{name}'.");
        return filter.Body(context, value, filter.Parameters is null ? arguments : arguments.Bind(name, filter.Parameters));
    }

    private static Dictionary<string, Method> Collect()
    {
        Dictionary<string, Method> all = new(StringComparer.Ordinal);
        foreach (KeyValuePair<string, Method> one in TextFilters.All
            .Concat(NumberFilters.All).Concat(SequenceFilters.All).Concat(SelectionFilters.All).Concat(OrderFilters.All))
        {
            all.Add(one.Key, one.Value);
        }

        all["d"] = all["default"];
        all["count"] = all["length"];
        all["e"] = all["escape"];
        all["forceescape"] = all["escape"];
        return all;
    }
}
