namespace InferenceServer.Models.ChatTemplates.Nodes;

/// <summary>Statements one after the other.</summary>
internal sealed class Block(Statement[] statements)
{
    public Flow Execute(RenderContext context)
    {
        foreach (Statement statement in statements)
        {
            Flow flow = statement.Execute(context);
            if (flow != Flow.Next)
            {
                return flow;
            }
        }

        return Flow.Next;
    }

    /// <summary>Runs in a scope of its own: what is set inside is not seen outside.</summary>
    public Flow ExecuteIn(RenderContext context, Scope scope)
    {
        Scope outer = context.Scope;
        context.Scope = scope;
        Flow flow = Execute(context);
        context.Scope = outer;
        return flow;
    }
}
