using InferenceServer.Models.ChatTemplates.Builtins;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

/// <summary>The arguments of a call as written.</summary>
/// <param name="positional">Arguments by place.</param>
/// <param name="named">Arguments by name.</param>
/// <param name="moreNamed">What <c>**</c> stands before; null when there is none.</param>
internal sealed class ArgumentList(ArgumentList.Positional[] positional, KeyValuePair<string, Expression>[] named, Expression? moreNamed)
{
    public static ArgumentList None { get; } = new([], [], null);

    public Arguments Evaluate(RenderContext context)
    {
        if (positional.Length == 0 && named.Length == 0 && moreNamed is null)
        {
            return Arguments.None;
        }

        List<object?> values = [];
        foreach (Positional one in positional)
        {
            object? value = one.Value.Evaluate(context);
            if (one.IsSpread)
            {
                values.AddRange(Iteration.ItemsOf(context.Budget, value));
            }
            else
            {
                values.Add(value);
            }
        }

        List<KeyValuePair<string, object?>> namedValues = [.. named.Select(one => KeyValuePair.Create(one.Key, one.Value.Evaluate(context)))];
        if (moreNamed is not null)
        {
            TemplateDict dict = moreNamed.Evaluate(context) as TemplateDict ?? throw new ChatTemplateException("argument after ** must be a mapping");
            namedValues.AddRange(dict.Entries.Select(entry => KeyValuePair.Create(PythonText.Str(context.Budget, entry.Key), entry.Value)));
        }

        context.Budget.AllocateItems(values.Count + namedValues.Count);
        return new Arguments([.. values], [.. namedValues]);
    }

    /// <summary>An argument by place; <c>*value</c> gives one per item.</summary>
    internal readonly record struct Positional(Expression Value, bool IsSpread);
}

internal sealed class Call(int line, Expression target, ArgumentList arguments) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        object? function = target.Evaluate(context);
        Arguments values = arguments.Evaluate(context);
        context.Line = line;
        return Invoke(context, function, values);
    }

    public static object? Invoke(RenderContext context, object? function, Arguments arguments) => function switch
    {
        TemplateCallable callable => callable.Call(context, arguments),
        LoopState loop => loop.Recurse(context, arguments.Bind("loop", ["iterable"]).Required(0, "loop")),
        Undefined undefined => undefined.Fail(),
        _ => throw new ChatTemplateException($"'{PythonTypes.NameOf(function)}' object is not callable"),
    };
}

/// <summary>A filter with its arguments, without the value before the bar.</summary>
internal sealed class FilterApplication(int line, string name, ArgumentList arguments)
{
    public object? Apply(RenderContext context, object? value)
    {
        Arguments values = arguments.Evaluate(context);
        context.Line = line;
        return Filters.Apply(context, name, value, values);
    }
}

internal sealed class FilterCall(Expression value, FilterApplication filter) : Expression
{
    protected override object? EvaluateCore(RenderContext context) => filter.Apply(context, value.Evaluate(context));
}

internal sealed class TestCall(int line, string name, bool isNegated, Expression value, ArgumentList arguments) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        object? tested = value.Evaluate(context);
        Arguments values = arguments.Evaluate(context);
        context.Line = line;
        return TemplateTests.Apply(context, name, tested, values) != isNegated;
    }
}
