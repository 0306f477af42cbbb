namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>The name <c>loop</c> within a <c>for</c>.</summary>
/// <param name="items">What is iterated.</param>
/// <param name="depth">How many loops called themselves around this one.</param>
/// <param name="recurse">Runs the body over other items; null when the loop is not marked <c>recursive</c>.</param>
internal sealed class LoopState(object?[] items, int depth, Func<RenderContext, object?, int, object?>? recurse)
{
    private TemplateSequence? _changed;

    public int Index { get; private set; } = -1;

    public int Count => items.Length;

    public bool TryMoveNext(out object? item)
    {
        bool any = Index + 1 < items.Length;
        item = any ? items[++Index] : null;
        return any;
    }

    /// <summary>The items not yet reached: a template that iterates its own loop takes them from it.</summary>
    public object?[] TakeRest()
    {
        object?[] rest = items[(Index + 1)..];
        Index = items.Length - 1;
        return rest;
    }

    public object? Recurse(RenderContext context, object? other) => recurse is null
        ? throw new ChatTemplateException("The loop must have the 'recursive' marker to be called recursively.")
        : recurse(context, other, depth + 1);

    public bool TryGet(RenderContext context, string name, out object? value)
    {
        value = name switch
        {
            "index" => Index + 1L,
            "index0" => (long)Index,
            "revindex" => (long)Count - Index,
            "revindex0" => (long)Count - Index - 1,
            "first" => Index == 0,
            "last" => Index == Count - 1,
            "length" => (long)Count,
            "depth" => depth + 1L,
            "depth0" => (long)depth,
            "previtem" => Index > 0 ? items[Index - 1] : new Undefined("there is no previous item"),
            "nextitem" => Index + 1 < Count ? items[Index + 1] : new Undefined("there is no next item"),
            "cycle" => new TemplateCallable("cycle", (_, arguments) => Cycle(arguments)),
            "changed" => new TemplateCallable("changed", (caller, arguments) => Changed(caller, arguments)),
            _ => context,
        };
        bool known = !ReferenceEquals(value, context);
        value = known ? value : null;
        return known;
    }

    private object? Cycle(Arguments arguments) => arguments.Positional.Length > 0
        ? arguments.Positional[Index % arguments.Positional.Length]
        : throw new ChatTemplateException("no items for cycling given");

    private object Changed(RenderContext context, Arguments arguments)
    {
        TemplateSequence? before = _changed;
        _changed = TemplateSequence.Tuple(arguments.Positional);
        return before is null || !Comparison.AreEqual(context.Budget, before, _changed);
    }
}
