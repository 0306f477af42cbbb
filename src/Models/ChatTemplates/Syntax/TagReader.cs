using System.Text;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Syntax;

/// <summary>Reads the words of one tag, up to and with its end.</summary>
internal sealed class TagReader(string source, List<Token> tokens)
{
    private static readonly string[] s_symbols =
    [
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
    ];

    private readonly Stack<char> _open = new();
    private int _at;
    private int _line;

    /// <summary>Reads from <paramref name="at"/>; returns the place after the tag and after the white space its end takes with it.</summary>
    public int Read(int at, ref int line, bool isOutput)
    {
        (_at, _line) = (at, line);
        while (!TryReadEnd(isOutput))
        {
            ReadToken();
        }

        line = _line;
        return _at;
    }

    private bool TryReadEnd(bool isOutput)
    {
        SkipSpace();
        if (_at >= source.Length)
        {
            throw ChatTemplateException.AtLine(_line, isOutput ? "a '{{' has no '}}'" : "a '{%' has no '%}'");
        }

        ReadOnlySpan<char> end = isOutput ? "}}" : "%}";
        ReadOnlySpan<char> rest = source.AsSpan(_at);
        char mark = rest[0] == '-' || (rest[0] == '+' && !isOutput) ? rest[0] : '\0';
        int width = mark == '\0' ? 2 : 3;
        if (_open.Count > 0 || !rest[(width - 2)..].StartsWith(end))
        {
            return false;
        }

        Add(isOutput ? TokenKind.OutputEnd : TokenKind.BlockEnd, end.ToString());
        _at += width;
        if (mark == '-')
        {
            SkipSpace();
        }
        else if (mark == '\0' && !isOutput && _at < source.Length && source[_at] == '\n')
        {
            _at++;
            _line++;
        }

        return true;
    }

    private void ReadToken()
    {
        char c = source[_at];
        if (c is '\'' or '"')
        {
            ReadText(c);
        }
        else if (char.IsAsciiDigit(c))
        {
            ReadNumber();
        }
        else if (c == '_' || char.IsLetter(c))
        {
            int start = _at;
            while (_at < source.Length && (source[_at] == '_' || char.IsLetterOrDigit(source[_at])))
            {
                _at++;
            }

            Add(TokenKind.Name, source[start.._at]);
        }
        else
        {
            ReadSymbol();
        }
    }

    private void ReadSymbol()
    {
        foreach (string symbol in s_symbols)
        {
            if (source.AsSpan(_at).StartsWith(symbol))
            {
                Balance(symbol[0]);
                Add(TokenKind.Symbol, symbol);
                _at += symbol.Length;
                return;
            }
        }

        throw ChatTemplateException.AtLine(_line, $"unexpected character '{source[_at]}'");
    }

    private void Balance(char symbol)
    {
        if (symbol is '(' or '[' or '{')
        {
            _open.Push(symbol switch { '(' => ')', '[' => ']', _ => '}' });
        }
        else if (symbol is (')' or ']' or '}') && (!_open.TryPop(out char expected) || expected != symbol))
        {
            throw ChatTemplateException.AtLine(_line, $"unexpected '{symbol}'");
        }
    }

    private void ReadNumber()
    {
        int start = _at;
        if (source[_at] == '0' && _at + 1 < source.Length && char.ToLowerInvariant(source[_at + 1]) is ('x' or 'o' or 'b'))
        {
            _at += 2;
            SkipDigits(char.IsAsciiHexDigit);
            Add(TokenKind.Integer, source[start.._at].Replace("_", "", StringComparison.Ordinal));
            return;
        }

        SkipDigits(char.IsAsciiDigit);
        bool isFloat = IsDigitAt(_at + 1) && source[_at] == '.';
        if (isFloat)
        {
            _at++;
            SkipDigits(char.IsAsciiDigit);
        }

        if (_at < source.Length && source[_at] is ('e' or 'E'))
        {
            int digits = _at + 1 < source.Length && source[_at + 1] is ('+' or '-') ? _at + 2 : _at + 1;
            if (IsDigitAt(digits))
            {
                isFloat = true;
                _at = digits;
                SkipDigits(char.IsAsciiDigit);
            }
        }

        Add(isFloat ? TokenKind.Float : TokenKind.Integer, source[start.._at].Replace("_", "", StringComparison.Ordinal));
    }

    private bool IsDigitAt(int at) => at < source.Length && char.IsAsciiDigit(source[at]);

    private void SkipDigits(Func<char, bool> isDigit)
    {
        while (_at < source.Length && (isDigit(source[_at]) || (source[_at] == '_' && _at + 1 < source.Length && isDigit(source[_at + 1]))))
        {
            _at++;
        }
    }

    private void ReadText(char quote)
    {
        StringBuilder text = new();
        int startLine = _line;
        for (_at++; ; _at++)
        {
            if (_at >= source.Length)
            {
                throw ChatTemplateException.AtLine(startLine, $"a text has no closing {quote}");
            }

            char c = source[_at];
            if (c == quote)
            {
                _at++;
                tokens.Add(new Token(TokenKind.Text, text.ToString(), startLine));
                return;
            }

            _line += c == '\n' ? 1 : 0;
            if (c == '\\' && _at + 1 < source.Length)
            {
                _at++;
                AppendEscape(text);
            }
            else
            {
                text.Append(c);
            }
        }
    }

    /// <summary>Appends what Python reads an escape as; <c>_at</c> is on the character after the backslash and stays on the last one taken.</summary>
    private void AppendEscape(StringBuilder text)
    {
        char c = source[_at];
        switch (c)
        {
            case '\n':
                _line++;
                break;
            case 'x' or 'u' or 'U':
                AppendCodePoint(text, c switch { 'x' => 2, 'u' => 4, _ => 8 });
                break;
            case >= '0' and <= '7':
                int value = 0;
                int start = _at;
                for (; _at < source.Length && _at < start + 3 && source[_at] is >= '0' and <= '7'; _at++)
                {
                    value = (value * 8) + source[_at] - '0';
                }

                _at--;
                text.Append((char)value);
                break;
            default:
                int known = "abfnrtv\\'\"".IndexOf(c);
                text.Append(known >= 0 ? "\a\b\f\n\r\t\v\\'\""[known].ToString() : "\\" + c);
                break;
        }
    }

    private void AppendCodePoint(StringBuilder text, int digits)
    {
        if (_at + digits >= source.Length
            || !int.TryParse(source.AsSpan(_at + 1, digits), System.Globalization.NumberStyles.AllowHexSpecifier, null, out int point)
            || point is < 0 or > 0x10FFFF)
        {
            throw ChatTemplateException.AtLine(_line, $"a text holds '\\{source[_at]}' without its {digits} hexadecimal digits");
        }

        _at += digits;
        text.Append(point < 0x10000 ? ((char)point).ToString() : char.ConvertFromUtf32(point));
    }

    private void SkipSpace()
    {
        while (_at < source.Length && PythonText.IsSpace(source[_at]))
        {
            _line += source[_at] == '\n' ? 1 : 0;
            _at++;
        }
    }

    private void Add(TokenKind kind, string text) => tokens.Add(new Token(kind, text, _line));
}
