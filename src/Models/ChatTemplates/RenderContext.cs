using System.Text;

namespace InferenceServer.Models.ChatTemplates;

/// <summary>The state of one rendering. Belongs to one thread.</summary>
internal sealed class RenderContext(RenderBudget budget, TimeProvider timeProvider, Scope globals)
{
    private StringBuilder _output = new();
    private int _macroDepth;

    public RenderBudget Budget => budget;

    public TimeProvider TimeProvider => timeProvider;

    public Scope Scope { get; set; } = globals;

    /// <summary>The line being rendered, for the message of a failure.</summary>
    public int Line { get; set; }

    public string Output => _output.ToString();

    public void Write(string text)
    {
        budget.Allocate(text.Length);
        _output.Append(text);
        if (_output.Length > budget.Limits.MaxOutputChars)
        {
            throw new ChatTemplateException($"the output exceeds {budget.Limits.MaxOutputChars} characters (MaxOutputChars)");
        }
    }

    /// <summary>Runs a part in a scope of its own and returns what it wrote.</summary>
    public string Capture(Scope scope, Action<RenderContext> part)
    {
        (StringBuilder outerOutput, Scope outerScope) = (_output, Scope);
        _output = new StringBuilder();
        Scope = scope;
        part(this);
        string text = budget.Own(_output.ToString());
        (_output, Scope) = (outerOutput, outerScope);
        return text;
    }

    /// <summary>As <see cref="Capture"/>, for the body of a macro or a recursive loop, which may call itself.</summary>
    public string CaptureCall(Scope scope, Action<RenderContext> part)
    {
        if (++_macroDepth > budget.Limits.MaxMacroDepth)
        {
            throw new ChatTemplateException($"macros call each other more than {budget.Limits.MaxMacroDepth} deep (MaxMacroDepth)");
        }

        int line = Line;
        string text = Capture(scope, part);
        Line = line;
        _macroDepth--;
        return text;
    }
}
