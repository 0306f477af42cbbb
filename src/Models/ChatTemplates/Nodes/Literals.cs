using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

internal sealed class Literal(object? value) : Expression
{
    protected override object? EvaluateCore(RenderContext context) => value;
}

internal sealed class SequenceLiteral(Expression[] items, SequenceKind kind) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        context.Budget.AllocateItems(items.Length);
        return new TemplateSequence(Array.ConvertAll(items, item => item.Evaluate(context)), kind);
    }
}

internal sealed class DictLiteral(KeyValuePair<Expression, Expression>[] entries) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        context.Budget.AllocateEntries(entries.Length);
        TemplateDict dict = new();
        foreach (KeyValuePair<Expression, Expression> entry in entries)
        {
            object? key = entry.Key.Evaluate(context);
            context.Budget.Scan((key as string)?.Length ?? 0);
            dict.Set(key, entry.Value.Evaluate(context));
        }

        return dict;
    }
}

internal sealed class Name(string name) : Expression
{
    public string Text => name;

    protected override object? EvaluateCore(RenderContext context) =>
        context.Scope.TryGet(name, out object? value) ? value : new Undefined($"'{name}' is undefined");
}
