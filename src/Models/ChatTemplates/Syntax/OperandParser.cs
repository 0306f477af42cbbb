using System.Globalization;
using System.Numerics;
using InferenceServer.Models.ChatTemplates.Nodes;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Syntax;

/// <summary>Reads operands: names, literals, and what follows them (attributes, items, calls, filters, tests).</summary>
internal sealed class OperandParser(TokenCursor cursor)
{
    public Expression ReadPrimary(ExpressionParser expressions)
    {
        Token token = cursor.Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                cursor.Take();
                return token.Text switch
                {
                    "true" or "True" => new Literal(true),
                    "false" or "False" => new Literal(false),
                    "none" or "None" => new Literal(null),
                    _ => new Name(token.Text),
                };
            case TokenKind.Text:
                return ReadTexts();
            case TokenKind.Integer:
                return new Literal(IntegerOf(cursor.Take().Text));
            case TokenKind.Float:
                return new Literal(double.Parse(cursor.Take().Text, CultureInfo.InvariantCulture));
            case TokenKind.Symbol when token.Text is ("(" or "[" or "{"):
                cursor.Enter();
                cursor.Take();
                Expression value = token.Text switch
                {
                    "(" => ReadParenthesized(expressions),
                    "[" => new SequenceLiteral(ReadItems(expressions), SequenceKind.List),
                    _ => ReadDict(expressions),
                };
                cursor.Leave();
                return value;
            default:
                throw cursor.Unexpected("an expression");
        }
    }

    public Expression ReadPostfix(Expression value, ExpressionParser expressions)
    {
        for (int links = 0; ; links++)
        {
            cursor.CheckChain(links);
            int line = cursor.Current.Line;
            if (cursor.TrySymbol("."))
            {
                value = cursor.Current.Kind == TokenKind.Integer
                    ? new ItemAccess(value, new Literal(IntegerOf(cursor.Take().Text)))
                    : new AttributeAccess(value, cursor.TakeName());
            }
            else if (cursor.TrySymbol("["))
            {
                value = ReadItemAccess(value, expressions);
                cursor.ExpectSymbol("]");
            }
            else if (cursor.Current.IsSymbol("("))
            {
                value = new Call(line, value, ReadArguments(expressions));
            }
            else
            {
                return value;
            }
        }
    }

    public Expression ReadFiltersAndTests(Expression value, ExpressionParser expressions)
    {
        for (int links = 0; ; links++)
        {
            cursor.CheckChain(links);
            int line = cursor.Current.Line;
            if (cursor.TrySymbol("|"))
            {
                value = new FilterCall(value, ReadFilter(expressions));
            }
            else if (cursor.TryName("is"))
            {
                value = ReadTest(line, value, expressions);
            }
            else if (cursor.Current.IsSymbol("("))
            {
                value = new Call(line, value, ReadArguments(expressions));
            }
            else
            {
                return value;
            }
        }
    }

    /// <summary>A filter after its bar.</summary>
    public FilterApplication ReadFilter(ExpressionParser expressions)
    {
        int line = cursor.Current.Line;
        string name = ReadDottedName();
        return new FilterApplication(line, name, cursor.Current.IsSymbol("(") ? ReadArguments(expressions) : ArgumentList.None);
    }

    /// <summary>The arguments of a call, with its parentheses.</summary>
    public ArgumentList ReadArguments(ExpressionParser expressions)
    {
        List<ArgumentList.Positional> positional = [];
        List<KeyValuePair<string, Expression>> named = [];
        Expression? moreNamed = null;
        cursor.Enter();
        cursor.ExpectSymbol("(");
        while (!cursor.TrySymbol(")"))
        {
            if (cursor.TrySymbol("**"))
            {
                moreNamed = expressions.Read();
            }
            else if (cursor.TrySymbol("*"))
            {
                positional.Add(new(expressions.Read(), IsSpread: true));
            }
            else if (cursor.Current.Kind == TokenKind.Name && cursor.Following.IsSymbol("="))
            {
                string name = cursor.TakeName();
                cursor.ExpectSymbol("=");
                named.Add(new(name, expressions.Read()));
            }
            else if (named.Count > 0)
            {
                throw cursor.Error("an argument without a name follows one with a name");
            }
            else
            {
                positional.Add(new(expressions.Read(), IsSpread: false));
            }

            ExpectCommaOr(")");
        }

        cursor.Leave();
        return new ArgumentList([.. positional], [.. named], moreNamed);
    }

    /// <summary>A call, taken apart: what is called, and with what.</summary>
    public Expression ReadCallTarget(ExpressionParser expressions, out ArgumentList arguments)
    {
        Expression target = ReadPrimary(expressions);
        while (cursor.TrySymbol("."))
        {
            target = new AttributeAccess(target, cursor.TakeName());
        }

        arguments = ReadArguments(expressions);
        return target;
    }

    private Literal ReadTexts()
    {
        List<string> parts = [];
        while (cursor.Current.Kind == TokenKind.Text)
        {
            parts.Add(cursor.Take().Text);
        }

        return new Literal(string.Concat(parts));
    }

    private object IntegerOf(string text)
    {
        int radix = text.Length < 2 ? 10 : char.ToLowerInvariant(text[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 10 };
        ReadOnlySpan<char> digits = text.AsSpan(radix == 10 ? 0 : 2);
        if (digits.Length is 0 or > 1000 || (radix == 10 && digits.Length > 1 && digits.Trim('0').Length > 0 && digits[0] == '0'))
        {
            throw cursor.Error($"'{text}' is no number");
        }

        BigInteger value = BigInteger.Zero;
        foreach (char digit in digits)
        {
            int worth = char.IsAsciiDigit(digit) ? digit - '0' : char.ToLowerInvariant(digit) - 'a' + 10;
            value = worth < radix ? (value * radix) + worth : throw cursor.Error($"'{text}' is no number");
        }

        return Numbers.Normalize(value);
    }

    private Expression ReadParenthesized(ExpressionParser expressions)
    {
        if (cursor.TrySymbol(")"))
        {
            return new Literal(TemplateSequence.EmptyTuple);
        }

        Expression value = expressions.ReadTuple();
        cursor.ExpectSymbol(")");
        return value;
    }

    private Expression[] ReadItems(ExpressionParser expressions)
    {
        List<Expression> items = [];
        while (!cursor.TrySymbol("]"))
        {
            items.Add(expressions.Read());
            ExpectCommaOr("]");
        }

        return [.. items];
    }

    private DictLiteral ReadDict(ExpressionParser expressions)
    {
        List<KeyValuePair<Expression, Expression>> entries = [];
        while (!cursor.TrySymbol("}"))
        {
            Expression key = expressions.Read();
            cursor.ExpectSymbol(":");
            entries.Add(new(key, expressions.Read()));
            ExpectCommaOr("}");
        }

        return new DictLiteral([.. entries]);
    }

    private void ExpectCommaOr(string end)
    {
        if (!cursor.TrySymbol(",") && !cursor.Current.IsSymbol(end))
        {
            throw cursor.Unexpected($"',' or '{end}'");
        }
    }

    private Expression ReadItemAccess(Expression value, ExpressionParser expressions)
    {
        Expression? start = IsSliceMark() ? null : expressions.ReadTuple();
        if (start is not null && !cursor.Current.IsSymbol(":"))
        {
            return new ItemAccess(value, start);
        }

        cursor.ExpectSymbol(":");
        Expression? stop = IsSliceMark() ? null : expressions.Read();
        Expression? step = cursor.TrySymbol(":") && !IsSliceMark() ? expressions.Read() : null;
        return new SliceAccess(value, start, stop, step);
    }

    private bool IsSliceMark() => cursor.Current.IsSymbol(":") || cursor.Current.IsSymbol("]");

    // Jinja allows dots in the names of filters and tests: "x|trim.upper()" is one filter, which nobody has.
    private string ReadDottedName()
    {
        List<string> parts = [cursor.TakeName()];
        while (cursor.TrySymbol("."))
        {
            parts.Add(cursor.TakeName());
        }

        return string.Join('.', parts);
    }

    private TestCall ReadTest(int line, Expression value, ExpressionParser expressions)
    {
        bool isNegated = cursor.TryName("not");
        string name = ReadDottedName();
        ArgumentList arguments = ArgumentList.None;
        if (cursor.Current.IsSymbol("("))
        {
            arguments = ReadArguments(expressions);
        }
        else if (cursor.Current.IsName("is"))
        {
            throw cursor.Error("tests cannot be chained with 'is'");
        }
        else if (StartsTestArgument())
        {
            arguments = new ArgumentList([new(ReadPostfix(ReadPrimary(expressions), expressions), IsSpread: false)], [], null);
        }

        return new TestCall(line, name, isNegated, value, arguments);
    }

    /// <summary>A test may have one argument without parentheses: <c>is divisibleby 3</c>.</summary>
    private bool StartsTestArgument()
    {
        Token token = cursor.Current;
        return token.Kind switch
        {
            TokenKind.Text or TokenKind.Integer or TokenKind.Float => true,
            TokenKind.Symbol => token.Text is "[" or "{",
            TokenKind.Name => token.Text is not ("else" or "or" or "and" or "if" or "in" or "not"),
            _ => false,
        };
    }
}
