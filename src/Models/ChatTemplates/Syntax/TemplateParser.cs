using InferenceServer.Models.ChatTemplates.Nodes;

namespace InferenceServer.Models.ChatTemplates.Syntax;

/// <summary>Reads a template into the tree that is rendered.</summary>
internal sealed class TemplateParser
{
    private readonly TokenCursor _cursor;
    private readonly ExpressionParser _expressions;
    private readonly TagParser _tags;

    private TemplateParser(TokenCursor cursor)
    {
        _cursor = cursor;
        _expressions = new ExpressionParser(cursor);
        _tags = new TagParser(cursor, _expressions, this);
    }

    /// <exception cref="ChatTemplateException">The template is not well formed, or uses what chat templates may not use.</exception>
    public static Block Parse(string source)
    {
        TemplateParser parser = new(new TokenCursor(Lexer.Read(source)));
        Block block = parser.ReadBlock();
        return parser._cursor.Current.Kind == TokenKind.End
            ? block
            : throw parser._cursor.Error($"the tag '{parser._cursor.Following.Text}' has no beginning");
    }

    /// <summary>Reads up to one of the tags named, or to the end of the template; leaves the tag's name as the next word.</summary>
    public Block ReadBlock(params string[] ends)
    {
        List<Statement> statements = [];
        _cursor.Enter();
        while (_cursor.Current.Kind != TokenKind.End)
        {
            if (_cursor.Current.Kind == TokenKind.BlockBegin && _cursor.Following.Kind == TokenKind.Name && TagParser.IsEnd(_cursor.Following.Text))
            {
                break;
            }

            statements.Add(ReadStatement());
        }

        _cursor.Leave();
        if (ends.Length > 0)
        {
            ExpectOneOf(ends);
        }

        return new Block([.. statements]);
    }

    private void ExpectOneOf(string[] ends)
    {
        string expected = string.Join(" or ", ends.Select(end => $"'{end}'"));
        if (_cursor.Current.Kind == TokenKind.End)
        {
            throw _cursor.Error($"unexpected end of the template: {expected} is missing");
        }

        _cursor.Take();
        if (!ends.Contains(_cursor.Current.Text))
        {
            throw _cursor.Unexpected(expected);
        }
    }

    private Statement ReadStatement()
    {
        Token token = _cursor.Take();
        switch (token.Kind)
        {
            case TokenKind.Data:
                return new TextOutput(token.Line, token.Text);
            case TokenKind.OutputBegin:
                Expression value = _expressions.ReadTuple();
                _cursor.Expect(TokenKind.OutputEnd, "'}}'");
                return new ExpressionOutput(token.Line, value);
            default:
                return _tags.Read(token.Line);
        }
    }
}
