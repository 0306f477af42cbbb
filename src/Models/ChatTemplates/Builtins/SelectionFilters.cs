using System.Globalization;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Filters that take, drop or replace items by a test, an attribute or another filter.</summary>
internal static class SelectionFilters
{
    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["map"] = new((c, v, a) => new TemplateIterator(() => Map(c, v, a)), null),
        ["select"] = new((c, v, a) => new TemplateIterator(() => Select(c, v, a, byAttribute: false, keep: true)), null),
        ["reject"] = new((c, v, a) => new TemplateIterator(() => Select(c, v, a, byAttribute: false, keep: false)), null),
        ["selectattr"] = new((c, v, a) => new TemplateIterator(() => Select(c, v, a, byAttribute: true, keep: true)), null),
        ["rejectattr"] = new((c, v, a) => new TemplateIterator(() => Select(c, v, a, byAttribute: true, keep: false)), null),
        ["attr"] = new(Attribute, "name"),
        ["default"] = new((_, v, a) =>
            v is Undefined || (a.Flag(1) && !Comparison.IsTrue(v)) ? a.Get(0, "") : v, "default_value", "boolean"),
    };

    /// <summary>The value at a path like <c>function.name</c> or <c>items.0</c>.</summary>
    public static object? Follow(RenderContext context, object? item, object? path)
    {
        if (path is not string text)
        {
            return Subscript.Item(context, item, path);
        }

        foreach (string part in text.Split('.'))
        {
            object key = long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out long place) ? place : part;
            item = Subscript.Item(context, item, key);
        }

        return item;
    }

    private static object? Attribute(RenderContext context, object? value, Arguments arguments)
    {
        (value as Undefined)?.Fail();
        string name = arguments.Text(0, "attr") ?? "";
        return Attributes.TryGet(context, value, name, out object? found)
            ? found
            : new Undefined($"'{PythonTypes.NameOf(value)}' object has no attribute '{name}'");
    }

    /// <summary>As in Jinja these filters take none, false and 0 for empty, though nothing can be iterated there.</summary>
    private static object?[] ItemsOf(RenderContext context, object? value) =>
        Comparison.IsTrue(value) ? Iteration.ItemsOf(context.Budget, value) : [];

    private static object?[] Map(RenderContext context, object? value, Arguments arguments)
    {
        object?[] items = ItemsOf(context, value);
        context.Budget.AllocateItems(items.Length);
        if (arguments.Positional.Length > 0)
        {
            string name = arguments.Text(0, "map") ?? throw new ChatTemplateException("map requires a filter argument");
            Arguments rest = new(arguments.Positional[1..], arguments.Named);
            return Array.ConvertAll(items, item => Filters.Apply(context, name, item, rest));
        }

        Arguments bound = arguments.Bind("map", ["attribute", "default"]);
        object? path = bound.Required(0, "map");
        object? otherwise = bound.Get(1);
        return Array.ConvertAll(items, item =>
        {
            object? found = Follow(context, item, path);
            return found is Undefined && otherwise is not null ? otherwise : found;
        });
    }

    private static object?[] Select(RenderContext context, object? value, Arguments arguments, bool byAttribute, bool keep)
    {
        int before = byAttribute ? 1 : 0;
        object? path = byAttribute ? arguments.Required(0, "selectattr") : null;
        string? test = arguments.Text(before, "select");
        Arguments rest = new(arguments.Positional.Length > before ? arguments.Positional[(before + 1)..] : [], arguments.Named);
        object?[] items = ItemsOf(context, value);
        context.Budget.AllocateItems(items.Length);
        return Array.FindAll(items, item =>
        {
            object? tested = byAttribute ? Follow(context, item, path) : item;
            return (test is null ? Comparison.IsTrue(tested) : TemplateTests.Apply(context, test, tested, rest)) == keep;
        });
    }
}
