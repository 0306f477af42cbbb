namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>A function, a method bound to its value, or a macro: the only things a template can call.</summary>
internal sealed class TemplateCallable(string name, Func<RenderContext, Arguments, object?> body)
{
    public string Name => name;

    /// <summary>What a macro says of its parameters; null for everything else.</summary>
    public TemplateSequence? MacroParameters { get; init; }

    public object? Call(RenderContext context, Arguments arguments) => body(context, arguments);
}
