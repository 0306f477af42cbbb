using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

internal sealed class AttributeAccess(Expression target, string name) : Expression
{
    protected override object? EvaluateCore(RenderContext context) => Subscript.Attribute(context, target.Evaluate(context), name);
}

internal sealed class ItemAccess(Expression target, Expression key) : Expression
{
    protected override object? EvaluateCore(RenderContext context) =>
        Subscript.Item(context, target.Evaluate(context), key.Evaluate(context));
}

internal sealed class SliceAccess(Expression target, Expression? start, Expression? stop, Expression? step) : Expression
{
    protected override object? EvaluateCore(RenderContext context) => Subscript.Slice(
        context, target.Evaluate(context), start?.Evaluate(context), stop?.Evaluate(context), step?.Evaluate(context));
}
