using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

internal sealed class IfStatement(int line, KeyValuePair<Expression, Block>[] branches, Block? otherwise) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        foreach (KeyValuePair<Expression, Block> branch in branches)
        {
            if (Comparison.IsTrue(branch.Key.Evaluate(context)))
            {
                return branch.Value.Execute(context);
            }
        }

        return otherwise?.Execute(context) ?? Flow.Next;
    }
}

internal sealed class JumpStatement(int line, Flow flow) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context) => flow;
}

internal sealed class SetStatement(int line, Target target, Expression value) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        target.Assign(context, context.Scope, value.Evaluate(context));
        return Flow.Next;
    }
}

/// <summary><c>{% set name %}...{% endset %}</c>: the text of the block, passed through the filters.</summary>
internal sealed class SetBlockStatement(int line, Target target, FilterApplication[] filters, Block body) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        object? value = context.Capture(new Scope(context.Scope), inner => body.Execute(inner));
        foreach (FilterApplication filter in filters)
        {
            value = filter.Apply(context, value);
        }

        target.Assign(context, context.Scope, value);
        return Flow.Next;
    }
}
