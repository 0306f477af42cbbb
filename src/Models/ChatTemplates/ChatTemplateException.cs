namespace InferenceServer.Models.ChatTemplates;

/// <summary>A chat template that cannot be read, or that failed while it was rendered.</summary>
public sealed class ChatTemplateException : Exception
{
    public ChatTemplateException()
    {
        Reason = Message;
    }

    public ChatTemplateException(string reason)
        : base($"chat template: {reason}")
    {
        Reason = reason;
    }

    public ChatTemplateException(string reason, Exception innerException)
        : base($"chat template: {reason}", innerException)
    {
        Reason = reason;
    }

    private ChatTemplateException(string reason, int line, bool raised)
        : base(line > 0 ? $"chat template, line {line}: {reason}" : $"chat template: {reason}")
    {
        Reason = reason;
        Line = line;
        RaisedMessage = raised ? reason : null;
    }

    /// <summary>The line of the template, from 1; 0 when the failure has no place in it.</summary>
    public int Line { get; }

    /// <summary>What went wrong, without the place.</summary>
    public string Reason { get; }

    /// <summary>
    /// The template's own words when it refused its input with <c>raise_exception</c>: the caller's request is at fault and may be
    /// told so. Null for every other failure.
    /// </summary>
    public string? RaisedMessage { get; }

    internal static ChatTemplateException AtLine(int line, string reason) => new(reason, line, raised: false);

    internal static ChatTemplateException Raised(string message) => new(message, 0, raised: true);

    internal ChatTemplateException WithLine(int line) => new(Reason, line, RaisedMessage is not null);
}
