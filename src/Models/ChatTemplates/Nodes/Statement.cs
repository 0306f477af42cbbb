namespace InferenceServer.Models.ChatTemplates.Nodes;

/// <summary>What the loop around a statement does next.</summary>
internal enum Flow
{
    Next,
    Break,
    Continue,
}

/// <summary>A part of a template that writes or sets something.</summary>
internal abstract class Statement(int line)
{
    public Flow Execute(RenderContext context)
    {
        context.Budget.Enter();
        context.Line = line;
        return ExecuteCore(context);
    }

    protected abstract Flow ExecuteCore(RenderContext context);
}
