using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>The functions that every template can call.</summary>
internal static class Functions
{
    /// <summary>As in Jinja's sandbox.</summary>
    private const int MaxRange = 100_000;

    private const int MaxTimeFormatChars = 1000;

    public static void AddTo(Scope globals)
    {
        Add(globals, "range", Range);
        Add(globals, "dict", Dict);
        Add(globals, "namespace", Namespace);
        Add(globals, "joiner", Joiner);
        Add(globals, "cycler", Cycler);
        Add(globals, "raise_exception", Raise);
        Add(globals, "strftime_now", Now);
    }

    private static void Add(Scope globals, string name, Func<RenderContext, Arguments, object?> body) =>
        globals.Set(name, new TemplateCallable(name, body));

    private static TemplateSequence Range(RenderContext context, Arguments arguments)
    {
        Arguments bound = arguments.Bind("range", ["start", "stop", "step"]);
        bool hasStart = bound.Has(1);
        Int128 start = hasStart ? RangeBound(bound, 0) : 0;
        Int128 stop = RangeBound(bound, hasStart ? 1 : 0);
        Int128 step = bound.Has(2) ? RangeBound(bound, 2) : 1;
        if (step == 0)
        {
            throw new ChatTemplateException("range() arg 3 must not be zero");
        }

        Int128 count = step > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step;
        count = (step > 0 ? start < stop : start > stop) ? count : 0;
        if (count > MaxRange)
        {
            throw new ChatTemplateException($"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MaxRange}).");
        }

        context.Budget.AllocateItems((int)count);
        object?[] items = new object?[(int)count];
        for (int i = 0; i < items.Length; i++)
        {
            items[i] = (long)(start + (step * i));
        }

        string text = step == 1 ? $"range({start}, {stop})" : $"range({start}, {stop}, {step})";
        return new TemplateSequence(items, SequenceKind.Range, text);
    }

    private static long RangeBound(Arguments arguments, int place) => arguments.Required(place, "range") is null
        ? throw new ChatTemplateException("'NoneType' object cannot be interpreted as an integer")
        : arguments.Integer(place, "range", 0);

    private static TemplateDict Dict(RenderContext context, Arguments arguments)
    {
        TemplateDict dict = new();
        AddEntries(context, arguments, "dict", dict.Set);
        return dict;
    }

    private static TemplateNamespace Namespace(RenderContext context, Arguments arguments)
    {
        TemplateNamespace space = new();
        AddEntries(context, arguments, "namespace", (key, value) => space.Set(PythonText.Str(context.Budget, key), value));
        return space;
    }

    private static void AddEntries(RenderContext context, Arguments arguments, string function, Action<object?, object?> add)
    {
        context.Budget.AllocateEntries(1 + arguments.Named.Length);
        if (arguments.Positional.Length > 1)
        {
            throw new ChatTemplateException($"{function}() takes at most 1 argument, {arguments.Positional.Length} given");
        }

        object? entries = arguments.Get(0, TemplateSequence.EmptyTuple);
        foreach (object? pair in entries is TemplateDict dict ? Iteration.PairsOf(context.Budget, dict) : Iteration.ItemsOf(context.Budget, entries))
        {
            object?[] parts = Iteration.ItemsOf(context.Budget, pair);
            if (parts.Length != 2)
            {
                throw new ChatTemplateException($"{function}() needs pairs, not {parts.Length} values");
            }

            context.Budget.AllocateEntries(1);
            add(parts[0], parts[1]);
        }

        foreach (KeyValuePair<string, object?> named in arguments.Named)
        {
            add(named.Key, named.Value);
        }
    }

    private static TemplateCallable Joiner(RenderContext context, Arguments arguments)
    {
        object? separator = arguments.Bind("joiner", ["sep"]).Get(0, ", ");
        bool isUsed = false;
        return new TemplateCallable("joiner", (_, _) =>
        {
            object? next = isUsed ? separator : "";
            isUsed = true;
            return next;
        });
    }

    private static TemplateNamespace Cycler(RenderContext context, Arguments arguments)
    {
        object?[] items = arguments.Positional.Length > 0 ? arguments.Positional : throw new ChatTemplateException("at least one item has to be provided");
        TemplateNamespace cycler = new();
        int at = 0;
        cycler.Set("current", items[0]);
        cycler.Set("next", new TemplateCallable("next", (_, _) =>
        {
            object? current = items[at];
            at = (at + 1) % items.Length;
            cycler.Set("current", items[at]);
            return current;
        }));
        cycler.Set("reset", new TemplateCallable("reset", (_, _) =>
        {
            at = 0;
            cycler.Set("current", items[0]);
            return null;
        }));
        return cycler;
    }

    private static object Raise(RenderContext context, Arguments arguments) =>
        throw ChatTemplateException.Raised(PythonText.Str(context.Budget, arguments.Bind("raise_exception", ["message"]).Required(0, "raise_exception")));

    private static string Now(RenderContext context, Arguments arguments)
    {
        string format = arguments.Bind("strftime_now", ["format"]).Text(0, "strftime_now") ?? "";
        return format.Length <= MaxTimeFormatChars
            ? context.Budget.Own(TimeFormat.Format(context.TimeProvider.GetLocalNow(), format))
            : throw new ChatTemplateException($"the format of strftime_now has {format.Length} characters, more than {MaxTimeFormatChars}");
    }
}
