using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

/// <summary>A loop. Each turn has a scope of its own, so that nothing set inside is seen after it, nor in the next turn.</summary>
/// <param name="line">Its line.</param>
/// <param name="target">What each item is given to.</param>
/// <param name="iterable">What is iterated.</param>
/// <param name="filter">Which items count; null takes all.</param>
/// <param name="isRecursive">Whether the body may call <c>loop(items)</c>.</param>
/// <param name="body">Run for each item.</param>
/// <param name="otherwise">Run when there is no item.</param>
internal sealed class ForStatement(
    int line, Target target, Expression iterable, Expression? filter, bool isRecursive, Block body, Block? otherwise) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        Run(context, context.Scope, iterable.Evaluate(context), 0);
        return Flow.Next;
    }

    private void Run(RenderContext context, Scope outer, object? iterated, int depth)
    {
        object?[] items = Iteration.ItemsOf(context.Budget, iterated);
        if (filter is not null)
        {
            items = [.. items.Where(item => Passes(context, outer, item))];
        }

        LoopState loop = new(items, depth, isRecursive ? Recurse : null);
        if (items.Length == 0)
        {
            otherwise?.ExecuteIn(context, new Scope(outer));
        }

        while (loop.TryMoveNext(out object? item))
        {
            context.Budget.Step(1);
            Scope scope = new(outer);
            scope.Set("loop", loop);
            target.Assign(context, scope, item);
            if (body.ExecuteIn(context, scope) == Flow.Break)
            {
                break;
            }
        }

        object? Recurse(RenderContext inner, object? others, int innerDepth) =>
            inner.CaptureCall(outer, captured => Run(captured, outer, others, innerDepth));
    }

    private bool Passes(RenderContext context, Scope outer, object? item)
    {
        Scope before = context.Scope;
        context.Scope = new Scope(outer);
        target.Assign(context, context.Scope, item);
        bool passes = Comparison.IsTrue(filter!.Evaluate(context));
        context.Scope = before;
        return passes;
    }
}
