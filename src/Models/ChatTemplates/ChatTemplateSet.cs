namespace InferenceServer.Models.ChatTemplates;

/// <summary>The chat templates of a model with the texts of its special tokens: what it takes to turn a conversation into a prompt.</summary>
public sealed class ChatTemplateSet
{
    /// <summary>The name of the template that is used when no other is asked for.</summary>
    public const string DefaultName = "default";

    /// <summary>The name of the template that is used, where there is one, for a conversation with tools.</summary>
    public const string ToolUseName = "tool_use";

    private readonly Dictionary<string, ChatTemplate> _templates;
    private readonly Dictionary<string, string> _specialTokens;

    /// <param name="templates">The templates by name; a model with a single one calls it <see cref="DefaultName"/>.</param>
    /// <param name="specialTokens">The texts of the special tokens by name: <c>bos_token</c>, <c>eos_token</c> and so on.</param>
    /// <exception cref="ArgumentException">There is no template.</exception>
    public ChatTemplateSet(IReadOnlyDictionary<string, ChatTemplate> templates, IReadOnlyDictionary<string, string> specialTokens)
    {
        ArgumentNullException.ThrowIfNull(templates);
        ArgumentNullException.ThrowIfNull(specialTokens);
        if (templates.Count == 0)
        {
            throw new ArgumentException("a set needs at least one template", nameof(templates));
        }

        _templates = new(templates, StringComparer.Ordinal);
        _specialTokens = new(specialTokens, StringComparer.Ordinal);
    }

    /// <summary>The names of the templates, in order.</summary>
    public IReadOnlyList<string> Names => [.. _templates.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The texts of the special tokens by name.</summary>
    public IReadOnlyDictionary<string, string> SpecialTokens => _specialTokens;

    /// <summary>
    /// Loads the templates of a model folder: <c>chat_template.jinja</c> with <c>additional_chat_templates/*.jinja</c>, else the
    /// <c>chat_template</c> of tokenizer_config.json (a text, or a list of name and template), else that of <c>chat_template.json</c>.
    /// </summary>
    /// <param name="folder">The model's folder.</param>
    /// <param name="limits">What one rendering may use; null takes <see cref="ChatTemplateLimits.Default"/>.</param>
    /// <param name="timeProvider">The clock behind <c>strftime_now</c>; null takes the system's.</param>
    /// <returns>Null when the model has no chat template: it takes plain prompts only.</returns>
    /// <exception cref="ModelFormatException">A file or a template in it is malformed.</exception>
    public static ChatTemplateSet? FromFolder(string folder, ChatTemplateLimits? limits = null, TimeProvider? timeProvider = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        ChatTemplateFolder files = new(folder);
        Dictionary<string, ChatTemplate> templates = new(StringComparer.Ordinal);
        foreach (ChatTemplateFolder.Source source in files.ReadSources())
        {
            try
            {
                templates[source.Name] = ChatTemplate.Parse(source.Text, limits, timeProvider);
            }
            catch (ChatTemplateException error)
            {
                throw new ModelFormatException(source.File, $"template '{source.Name}': {error.Message}", error);
            }
        }

        return templates.Count == 0 ? null : new ChatTemplateSet(templates, files.ReadSpecialTokens());
    }

    /// <summary>Renders a conversation with the template that fits it. The options' special tokens win over the model's.</summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="options">Tools, documents, variables; null takes the defaults.</param>
    /// <param name="name">The template to use; null takes <see cref="ToolUseName"/> when there are tools and it exists, else <see cref="DefaultName"/>.</param>
    /// <param name="cancellationToken">Stops the rendering.</param>
    /// <exception cref="ChatTemplateException">There is no such template, or it failed; see <see cref="ChatTemplate"/>.</exception>
    public string Render(
        IReadOnlyList<ChatMessage> messages, ChatRenderOptions? options = null, string? name = null, CancellationToken cancellationToken = default)
    {
        options ??= new ChatRenderOptions();
        Dictionary<string, string> tokens = new(_specialTokens, StringComparer.Ordinal);
        foreach (KeyValuePair<string, string> token in options.SpecialTokens)
        {
            tokens[token.Key] = token.Value;
        }

        return Select(name, options.Tools is not null).Render(messages, options with { SpecialTokens = tokens }, cancellationToken);
    }

    private ChatTemplate Select(string? name, bool hasTools)
    {
        name ??= hasTools && _templates.ContainsKey(ToolUseName) ? ToolUseName : DefaultName;
        return _templates.GetValueOrDefault(name)
            ?? throw new ChatTemplateException($"there is no template '{name}'; the model has {string.Join(", ", Names)}");
    }
}
