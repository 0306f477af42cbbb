using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

internal sealed class TextOutput(int line, string text) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        context.Write(text);
        return Flow.Next;
    }
}

internal sealed class ExpressionOutput(int line, Expression expression) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        context.Write(PythonText.Str(context.Budget, expression.Evaluate(context)));
        return Flow.Next;
    }
}

/// <summary><c>{% filter name %}</c>: the text of a block, filtered.</summary>
internal sealed class FilterBlock(int line, FilterApplication[] filters, Block body) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        object? value = context.Capture(new Scope(context.Scope), inner => body.Execute(inner));
        foreach (FilterApplication filter in filters)
        {
            value = filter.Apply(context, value);
        }

        context.Write(PythonText.Str(context.Budget, value));
        return Flow.Next;
    }
}

/// <summary>A block with a scope of its own: <c>with</c>, <c>block</c>, <c>generation</c>.</summary>
internal sealed class ScopedBlock(int line, KeyValuePair<Target, Expression>[] names, Block body) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        Scope scope = new(context.Scope);
        foreach (KeyValuePair<Target, Expression> one in names)
        {
            one.Key.Assign(context, scope, one.Value.Evaluate(context));
        }

        return body.ExecuteIn(context, scope);
    }
}
