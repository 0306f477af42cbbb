using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>A method or filter: its code and the names of its parameters, null when it reads its arguments as they come.</summary>
internal sealed record Method(Func<RenderContext, object?, Arguments, object?> Body, params string[]? Parameters);
