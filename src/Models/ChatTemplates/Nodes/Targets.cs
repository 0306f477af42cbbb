using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

/// <summary>What a <c>set</c> or <c>for</c> gives a value to.</summary>
internal abstract class Target
{
    public abstract void Assign(RenderContext context, Scope scope, object? value);
}

internal sealed class NameTarget(string name) : Target
{
    public override void Assign(RenderContext context, Scope scope, object? value) => scope.Set(name, value);
}

internal sealed class NamespaceTarget(string name, string attribute) : Target
{
    public override void Assign(RenderContext context, Scope scope, object? value)
    {
        if (!scope.TryGet(name, out object? space) || space is not TemplateNamespace found)
        {
            throw new ChatTemplateException($"cannot assign attribute '{attribute}' of '{name}': it is no namespace");
        }

        found.Set(attribute, value);
    }
}

internal sealed class TupleTarget(Target[] targets) : Target
{
    public override void Assign(RenderContext context, Scope scope, object? value)
    {
        object?[] items = Iteration.ItemsOf(context.Budget, value);
        if (items.Length != targets.Length)
        {
            throw new ChatTemplateException($"expected {targets.Length} values to unpack, got {items.Length}");
        }

        for (int i = 0; i < targets.Length; i++)
        {
            targets[i].Assign(context, scope, items[i]);
        }
    }
}
