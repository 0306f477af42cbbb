using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

/// <summary>The parameters and the body of a macro or of a call block.</summary>
/// <param name="name">Its name.</param>
/// <param name="parameters">Parameters in order; the last ones may have a default.</param>
/// <param name="body">What it writes.</param>
internal sealed class MacroDefinition(string name, KeyValuePair<string, Expression?>[] parameters, Block body)
{
    /// <summary>The macro as a value that sees the names of <paramref name="scope"/>, also those set there later.</summary>
    public TemplateCallable Close(Scope scope) => new(name, (context, arguments) => Invoke(context, scope, arguments))
    {
        MacroParameters = TemplateSequence.Tuple([.. parameters.Select(parameter => parameter.Key)]),
    };

    private string Invoke(RenderContext context, Scope defined, Arguments arguments)
    {
        Scope scope = new(defined);
        TemplateDict others = new();
        context.Budget.AllocateEntries(arguments.Named.Length + parameters.Length);
        foreach (KeyValuePair<string, object?> one in arguments.Named)
        {
            others.Set(one.Key, one.Value);
        }

        // "caller" is what a call block hands to the macro; it is no parameter and not among kwargs.
        scope.Set("caller", others.TryGet("caller", out object? caller) ? caller : new Undefined("No caller defined"));
        return context.CaptureCall(scope, inner =>
        {
            BindParameters(inner, scope, arguments, others);
            body.Execute(inner);
        });
    }

    private void BindParameters(RenderContext context, Scope scope, Arguments arguments, TemplateDict others)
    {
        object?[] positional = arguments.Positional;
        for (int i = 0; i < parameters.Length; i++)
        {
            (string parameter, Expression? initial) = parameters[i];
            bool isNamed = others.TryGet(parameter, out object? value);
            if (i < positional.Length)
            {
                value = isNamed
                    ? throw new ChatTemplateException($"macro '{name}' got multiple values for argument '{parameter}'")
                    : positional[i];
            }
            else if (!isNamed)
            {
                value = initial is null ? new Undefined($"parameter '{parameter}' was not provided") : initial.Evaluate(context);
            }

            scope.Set(parameter, value);
        }

        context.Budget.Step((long)parameters.Length * (others.Count + 1));
        TemplateDict kwargs = new();
        foreach (KeyValuePair<object?, object?> entry in others.Entries)
        {
            if (entry.Key is string key && key != "caller" && !parameters.Any(parameter => parameter.Key == key))
            {
                kwargs.Set(key, entry.Value);
            }
        }

        scope.Set("varargs", TemplateSequence.Tuple(positional.Length > parameters.Length ? positional[parameters.Length..] : []));
        scope.Set("kwargs", kwargs);
    }
}

internal sealed class MacroStatement(int line, string name, MacroDefinition macro) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        context.Scope.Set(name, macro.Close(context.Scope));
        return Flow.Next;
    }
}

/// <summary><c>{% call(parameters) macro(arguments) %}</c>: the macro gets the block as <c>caller</c>.</summary>
internal sealed class CallBlock(int line, Expression target, ArgumentList arguments, MacroDefinition caller) : Statement(line)
{
    protected override Flow ExecuteCore(RenderContext context)
    {
        object? function = target.Evaluate(context);
        Arguments given = arguments.Evaluate(context);
        Arguments values = new(given.Positional, [.. given.Named, KeyValuePair.Create<string, object?>("caller", caller.Close(context.Scope))]);
        context.Write(PythonText.Str(context.Budget, Call.Invoke(context, function, values)));
        return Flow.Next;
    }
}
