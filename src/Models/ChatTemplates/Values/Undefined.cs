using System.Diagnostics.CodeAnalysis;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>A name, key or item that does not exist: false, empty when printed or iterated, an error in any other use.</summary>
internal sealed class Undefined(string reason)
{
    public string Reason => reason;

    [DoesNotReturn]
    public object Fail() => throw new ChatTemplateException(reason);
}
