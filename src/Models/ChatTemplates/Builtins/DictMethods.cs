using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>The methods of dictionaries. Those that would change one are known, but may not be called.</summary>
internal static class DictMethods
{
    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["items"] = new((c, v, _) => new TemplateSequence(Iteration.PairsOf(c.Budget, (TemplateDict)v!), SequenceKind.DictItems)),
        ["keys"] = new((c, v, _) => new TemplateSequence(Iteration.KeysOf(c.Budget, (TemplateDict)v!), SequenceKind.DictKeys)),
        ["values"] = new((c, v, _) => Values(c, (TemplateDict)v!)),
        ["get"] = new((c, v, a) =>
            Comparison.Contains(c.Budget, v, a.Required(0, "get")) && ((TemplateDict)v!).TryGet(a.Get(0), out object? found) ? found : a.Get(1), "key", "default"),
        ["copy"] = new((c, v, _) => Copy(c, (TemplateDict)v!)),
        ["clear"] = Refused("clear"),
        ["pop"] = Refused("pop"),
        ["popitem"] = Refused("popitem"),
        ["setdefault"] = Refused("setdefault"),
        ["update"] = Refused("update"),
    };

    private static Method Refused(string name) =>
        new((_, _, _) => throw new ChatTemplateException($"access to attribute '{name}' of 'dict' object is unsafe."), null);

    private static TemplateSequence Values(RenderContext context, TemplateDict dict)
    {
        context.Budget.AllocateItems(dict.Count);
        return new TemplateSequence([.. dict.Entries.Select(entry => entry.Value)], SequenceKind.DictValues);
    }

    private static TemplateDict Copy(RenderContext context, TemplateDict dict)
    {
        context.Budget.AllocateEntries(dict.Count);
        return dict.Copy();
    }
}
