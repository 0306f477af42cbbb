using System.Text.Json;
using InferenceServer.Models.ChatTemplates.Builtins;
using InferenceServer.Models.ChatTemplates.Nodes;
using InferenceServer.Models.ChatTemplates.Syntax;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates;

/// <summary>
/// A model's chat template: the part of Jinja that such templates use, with Python's meaning of values, read once and rendered by any
/// number of threads at a time. Templates are not trusted: they reach no .NET member, cannot change their input, and are stopped at
/// the <see cref="ChatTemplateLimits"/>.
/// </summary>
public sealed class ChatTemplate
{
    private readonly Block _root;
    private readonly ChatTemplateLimits _limits;
    private readonly TimeProvider _timeProvider;

    private ChatTemplate(string source, Block root, ChatTemplateLimits limits, TimeProvider timeProvider)
    {
        Source = source;
        _root = root;
        _limits = limits;
        _timeProvider = timeProvider;
    }

    /// <summary>The text the template was read from.</summary>
    public string Source { get; }

    /// <summary>Reads a template.</summary>
    /// <param name="source">Its text.</param>
    /// <param name="limits">What one rendering may use; null takes <see cref="ChatTemplateLimits.Default"/>.</param>
    /// <param name="timeProvider">The clock behind <c>strftime_now</c> (local time); null takes the system's.</param>
    /// <exception cref="ChatTemplateException">The template is not well formed, or larger than the limits allow.</exception>
    public static ChatTemplate Parse(string source, ChatTemplateLimits? limits = null, TimeProvider? timeProvider = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        limits ??= ChatTemplateLimits.Default;
        if (source.Length > limits.MaxSourceChars)
        {
            throw new ChatTemplateException($"{source.Length} characters exceed {limits.MaxSourceChars} (MaxSourceChars)");
        }

        return new ChatTemplate(source, TemplateParser.Parse(source), limits, timeProvider ?? TimeProvider.System);
    }

    /// <summary>Renders a conversation into the prompt, special tokens included: encode it without adding any.</summary>
    /// <exception cref="ChatTemplateException">
    /// The template failed or reached a limit, or refused the messages: then <see cref="ChatTemplateException.RaisedMessage"/> holds
    /// its words.
    /// </exception>
    /// <exception cref="OperationCanceledException">The rendering was cancelled.</exception>
    public string Render(IReadOnlyList<ChatMessage> messages, ChatRenderOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        options ??= new ChatRenderOptions();
        Scope globals = NewGlobals();
        foreach (KeyValuePair<string, string> token in options.SpecialTokens)
        {
            globals.Set(token.Key, token.Value);
        }

        globals.Set("messages", TemplateSequence.List([.. messages.Select(message => message.Fields)]));
        globals.Set("add_generation_prompt", options.AddGenerationPrompt);
        globals.Set("tools", options.Tools is JsonElement tools ? JsonValues.From(tools) : null);
        globals.Set("documents", options.Documents is JsonElement documents ? JsonValues.From(documents) : null);
        foreach (KeyValuePair<string, JsonElement> variable in options.Variables)
        {
            globals.Set(variable.Key, JsonValues.From(variable.Value));
        }

        return Render(globals, cancellationToken);
    }

    /// <summary>Renders with the names of a JSON object and no others: <c>messages</c>, <c>tools</c> and so on are the caller's to give.</summary>
    /// <exception cref="ChatTemplateException">As for a conversation; also when <paramref name="variables"/> is no object.</exception>
    /// <exception cref="OperationCanceledException">The rendering was cancelled.</exception>
    public string Render(JsonElement variables, CancellationToken cancellationToken = default)
    {
        Scope globals = NewGlobals();
        TemplateDict names = JsonValues.From(variables) as TemplateDict ?? throw new ChatTemplateException("the variables must be an object");
        foreach (KeyValuePair<object?, object?> entry in names.Entries)
        {
            globals.Set((string)entry.Key!, entry.Value);
        }

        return Render(globals, cancellationToken);
    }

    private static Scope NewGlobals()
    {
        Scope globals = new(outer: null);
        Functions.AddTo(globals);
        return globals;
    }

    private string Render(Scope globals, CancellationToken cancellationToken)
    {
        RenderContext context = new(new RenderBudget(_limits, cancellationToken), _timeProvider, new Scope(globals));
        try
        {
            _root.Execute(context);
            return context.Output;
        }
        catch (ChatTemplateException error) when (error.Line == 0)
        {
            throw error.WithLine(context.Line);
        }
    }
}
