namespace InferenceServer.Models.ChatTemplates.Syntax;

internal enum TokenKind
{
    /// <summary>Text outside of all tags.</summary>
    Data,
    OutputBegin,
    OutputEnd,
    BlockBegin,
    BlockEnd,
    Name,
    Text,
    Integer,
    Float,
    Symbol,
    End,
}

/// <summary>A word of the template.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its characters; of a text, the content with its escapes resolved.</param>
/// <param name="Line">Its line, from 1.</param>
internal readonly record struct Token(TokenKind Kind, string Text, int Line)
{
    public bool IsSymbol(string symbol) => Kind == TokenKind.Symbol && Text == symbol;

    public bool IsName(string name) => Kind == TokenKind.Name && Text == name;

    public override string ToString() => Kind switch
    {
        TokenKind.End => "the end of the template",
        TokenKind.BlockEnd => "'%}'",
        TokenKind.OutputEnd => "'}}'",
        _ => $"'{Text}'",
    };
}
