using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Syntax;

/// <summary>
/// Cuts a template into text and the words of its tags, with the white space rules that chat templates are written for:
/// trim_blocks (a line break after a tag goes), lstrip_blocks (so do blanks before a tag that starts its line), one line break at the
/// very end goes, and <c>-</c> and <c>+</c> at a tag overrule this.
/// </summary>
internal sealed class Lexer
{
    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _at;
    private int _line = 1;
    private bool _isAtLineStart = true;

    private Lexer(string source)
    {
        source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        _source = source.EndsWith('\n') ? source[..^1] : source;
    }

    public static List<Token> Read(string source)
    {
        Lexer lexer = new(source);
        while (lexer._at < lexer._source.Length)
        {
            lexer.ReadTextAndTag();
        }

        lexer.Add(TokenKind.End, "");
        return lexer._tokens;
    }

    private void ReadTextAndTag()
    {
        int tag = FindTag(_at);
        if (tag < 0)
        {
            AddData(_source[_at..]);
            Advance(_source.Length);
            return;
        }

        char kind = _source[tag + 1];
        string text = StripBefore(_source[_at..tag], tag + 2, isOutput: kind == '{');
        AddData(text);
        Advance(tag + 2);
        if (Current is '-' or '+')
        {
            Advance(_at + 1);
        }

        switch (kind)
        {
            case '#':
                ReadComment();
                break;
            case '%' when TryReadRaw():
                break;
            default:
                Add(kind == '{' ? TokenKind.OutputBegin : TokenKind.BlockBegin, kind == '{' ? "{{" : "{%");
                _at = new TagReader(_source, _tokens).Read(_at, ref _line, isOutput: kind == '{');
                _isAtLineStart = _source[_at - 1] == '\n';
                break;
        }
    }

    private char Current => _at < _source.Length ? _source[_at] : '\0';

    private int FindTag(int from)
    {
        for (int at = _source.IndexOf('{', from); at >= 0 && at + 1 < _source.Length; at = _source.IndexOf('{', at + 1))
        {
            if (_source[at + 1] is '{' or '%' or '#')
            {
                return at;
            }
        }

        return -1;
    }

    /// <summary>Takes away the white space before a tag that its sign, or its place at the start of a line, asks to take.</summary>
    private string StripBefore(string text, int sign, bool isOutput)
    {
        char mark = sign < _source.Length ? _source[sign] : '\0';
        if (mark == '-')
        {
            return PythonText.TrimEnd(text);
        }

        if (mark == '+' || isOutput)
        {
            return text;
        }

        int lineStart = text.LastIndexOf('\n') + 1;
        bool startsLine = lineStart > 0 || _isAtLineStart;
        return startsLine && PythonText.TrimEnd(text[lineStart..]).Length == 0 ? text[..lineStart] : text;
    }

    private void ReadComment()
    {
        int end = _source.IndexOf("#}", _at, StringComparison.Ordinal);
        if (end < 0)
        {
            throw ChatTemplateException.AtLine(_line, "a comment has no end '#}'");
        }

        // "{#-#}": the sign at the start may be the one at the end as well; it was taken at the start.
        char mark = end > _at ? _source[end - 1] : '\0';
        Advance(end + 2);
        SkipAfter(mark);
    }

    private bool TryReadRaw()
    {
        int at = SkipSpace(_at);
        if (!_source.AsSpan(at).StartsWith("raw"))
        {
            return false;
        }

        at = SkipSpace(at + 3);
        bool trims = at < _source.Length && _source[at] == '-';
        at += trims ? 1 : 0;
        if (!_source.AsSpan(at).StartsWith("%}"))
        {
            return false;
        }

        Advance(trims ? SkipSpace(at + 2) : at + 2);
        _isAtLineStart = _source[_at - 1] == '\n';
        for (int tag = FindTag(_at); tag >= 0; tag = FindTag(tag + 1))
        {
            if (_source[tag + 1] == '%' && TryEndRaw(tag))
            {
                return true;
            }
        }

        throw ChatTemplateException.AtLine(_line, "'raw' has no 'endraw'");
    }

    private bool TryEndRaw(int tag)
    {
        int at = tag + 2;
        at = SkipSpace(at < _source.Length && _source[at] is ('-' or '+') ? at + 1 : at);
        if (!_source.AsSpan(at).StartsWith("endraw"))
        {
            return false;
        }

        at = SkipSpace(at + 6);
        char mark = at < _source.Length ? _source[at] : '\0';
        at += mark is '-' or '+' ? 1 : 0;
        if (!_source.AsSpan(at).StartsWith("%}"))
        {
            return false;
        }

        AddData(StripBefore(_source[_at..tag], tag + 2, isOutput: false));
        Advance(at + 2);
        SkipAfter(mark);
        return true;
    }

    private void SkipAfter(char mark)
    {
        if (mark == '-')
        {
            Advance(SkipSpace(_at));
        }
        else if (mark != '+' && Current == '\n')
        {
            Advance(_at + 1);
        }

        _isAtLineStart = _source[_at - 1] == '\n';
    }

    private int SkipSpace(int at)
    {
        while (at < _source.Length && PythonText.IsSpace(_source[at]))
        {
            at++;
        }

        return at;
    }

    private void Advance(int to)
    {
        _line += _source.AsSpan(_at, to - _at).Count('\n');
        _at = to;
    }

    private void AddData(string text)
    {
        if (text.Length > 0)
        {
            Add(TokenKind.Data, text);
        }
    }

    private void Add(TokenKind kind, string text) => _tokens.Add(new Token(kind, text, _line));
}
