using System.Runtime.CompilerServices;

namespace InferenceServer.Models.ChatTemplates.Syntax;

/// <summary>The words of a template, read from first to last, and how deep the reading has gone.</summary>
internal sealed class TokenCursor(List<Token> tokens)
{
    /// <summary>Brackets within brackets and blocks within blocks. The deepest template seen in the wild has about ten.</summary>
    private const int MaxNesting = 100;

    /// <summary>Operators or filters in a row: each adds a level to the tree.</summary>
    private const int MaxChain = 500;

    private int _at;
    private int _nesting;

    public Token Current => tokens[_at];

    public Token Following => tokens[Math.Min(_at + 1, tokens.Count - 1)];

    public Token Take()
    {
        Token token = tokens[_at];
        _at = Math.Min(_at + 1, tokens.Count - 1);
        return token;
    }

    public bool TrySymbol(string symbol)
    {
        bool found = Current.IsSymbol(symbol);
        if (found)
        {
            Take();
        }

        return found;
    }

    public bool TryName(string name)
    {
        bool found = Current.IsName(name);
        if (found)
        {
            Take();
        }

        return found;
    }

    public void ExpectSymbol(string symbol)
    {
        if (!TrySymbol(symbol))
        {
            throw Unexpected($"'{symbol}'");
        }
    }

    public void ExpectName(string name)
    {
        if (!TryName(name))
        {
            throw Unexpected($"'{name}'");
        }
    }

    public string TakeName() => Current.Kind == TokenKind.Name ? Take().Text : throw Unexpected("a name");

    public void Expect(TokenKind kind, string what)
    {
        if (Current.Kind != kind)
        {
            throw Unexpected(what);
        }

        Take();
    }

    public ChatTemplateException Unexpected(string expected) => Error($"expected {expected}, found {Current}");

    public ChatTemplateException Error(string reason) => ChatTemplateException.AtLine(Current.Line, reason);

    public void Enter()
    {
        if (++_nesting > MaxNesting || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw Error($"the template is nested more than {MaxNesting} deep");
        }
    }

    public void Leave() => _nesting--;

    public void CheckChain(int links)
    {
        if (links > MaxChain)
        {
            throw Error($"an expression has more than {MaxChain} operators in a row");
        }
    }
}
