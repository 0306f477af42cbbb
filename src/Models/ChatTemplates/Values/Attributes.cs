using InferenceServer.Models.ChatTemplates.Builtins;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>The attributes of values: the methods of texts, lists and dictionaries, and what namespaces, loops and macros hold.</summary>
internal static class Attributes
{
    public static bool TryGet(RenderContext context, object? value, string name, out object? attribute)
    {
        attribute = null;
        return value switch
        {
            TemplateNamespace space => space.TryGet(name, out attribute),
            LoopState loop => loop.TryGet(context, name, out attribute),
            TemplateCallable callable => TryGetOfMacro(callable, name, out attribute),
            string or TemplateDict or TemplateSequence => TryGetMethod(value, name, out attribute),
            _ => false,
        };
    }

    private static bool TryGetMethod(object value, string name, out object? attribute)
    {
        if (value is TemplateSequence { FieldNames: not null } fields && Array.IndexOf(fields.FieldNames, name) is >= 0 and int place)
        {
            attribute = fields.Items[place];
            return true;
        }

        Method? method = value switch
        {
            string => StringMethods.All.GetValueOrDefault(name),
            TemplateDict => DictMethods.All.GetValueOrDefault(name),
            TemplateSequence { IsIndexable: true } => ListMethods.All.GetValueOrDefault(name),
            _ => null,
        };
        attribute = method is null ? null : new TemplateCallable(
            name, (context, arguments) => method.Body(context, value, method.Parameters is null ? arguments : arguments.Bind(name, method.Parameters)));
        return method is not null;
    }

    private static bool TryGetOfMacro(TemplateCallable callable, string name, out object? attribute)
    {
        attribute = name == "name" ? callable.Name : name == "arguments" ? callable.MacroParameters : null;
        return attribute is not null && callable.MacroParameters is not null;
    }
}
