namespace InferenceServer.Models.ChatTemplates.Nodes;

/// <summary>A part of a template that has a value.</summary>
internal abstract class Expression
{
    public object? Evaluate(RenderContext context)
    {
        context.Budget.Enter();
        return EvaluateCore(context);
    }

    protected abstract object? EvaluateCore(RenderContext context);
}
