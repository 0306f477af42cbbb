using System.Numerics;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Python's names for the types of values, as its error messages show them.</summary>
internal static class PythonTypes
{
    public static string NameOf(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        string => "str",
        TemplateDict => "dict",
        TemplateIterator => "generator",
        TemplateNamespace => "Namespace",
        TemplateCallable => "function",
        LoopState => "LoopContext",
        Undefined => "Undefined",
        TemplateSequence sequence => sequence.Kind switch
        {
            SequenceKind.Tuple => "tuple",
            SequenceKind.Range => "range",
            SequenceKind.DictKeys => "dict_keys",
            SequenceKind.DictValues => "dict_values",
            SequenceKind.DictItems => "dict_items",
            _ => "list",
        },
        _ => "object",
    };
}
