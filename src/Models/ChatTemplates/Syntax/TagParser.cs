using InferenceServer.Models.ChatTemplates.Nodes;

namespace InferenceServer.Models.ChatTemplates.Syntax;

/// <summary>Reads the tags <c>{% ... %}</c> with the blocks between them.</summary>
internal sealed class TagParser(TokenCursor cursor, ExpressionParser expressions, TemplateParser template)
{
    private readonly OperandParser _operands = new(cursor);
    private int _loops;

    /// <summary>Whether a tag of this name closes or divides a block.</summary>
    public static bool IsEnd(string name) => name is "elif" or "else" || name.StartsWith("end", StringComparison.Ordinal);

    /// <summary>Reads a tag after its <c>{%</c>, with everything up to the end of its last one.</summary>
    public Statement Read(int line)
    {
        string name = cursor.TakeName();
        switch (name)
        {
            case "if":
                return ReadIf(line);
            case "for":
                return ReadFor(line);
            case "set":
                return ReadSet(line);
            case "macro":
                return ReadMacro(line);
            case "call":
                return ReadCall(line);
            case "filter":
                return ReadFilterBlock(line);
            case "with":
                return ReadWith(line);
            case "block":
                cursor.TakeName();
                cursor.TryName("scoped");
                return new ScopedBlock(line, [], ReadBody("endblock"));
            case "generation":
                return new ScopedBlock(line, [], ReadBody("endgeneration"));
            case "print":
                Expression printed = expressions.ReadTuple();
                ExpectEnd();
                return new ExpressionOutput(line, printed);
            case "break" or "continue":
                ExpectEnd();
                return _loops > 0
                    ? new JumpStatement(line, name == "break" ? Flow.Break : Flow.Continue)
                    : throw ChatTemplateException.AtLine(line, $"'{name}' outside of a loop");
            default:
                throw ChatTemplateException.AtLine(line, $"unknown tag '{name}'");
        }
    }

    private void ExpectEnd() => cursor.Expect(TokenKind.BlockEnd, "'%}'");

    /// <summary>The rest of an opening tag, the block, and the closing tag.</summary>
    private Block ReadBody(string end)
    {
        ExpectEnd();
        Block body = template.ReadBlock(end);
        cursor.Take();
        if (cursor.Current.Kind == TokenKind.Name && end is ("endblock" or "endmacro"))
        {
            cursor.Take();
        }

        ExpectEnd();
        return body;
    }

    private IfStatement ReadIf(int line)
    {
        List<KeyValuePair<Expression, Block>> branches = [];
        Block? otherwise = null;
        do
        {
            Expression condition = expressions.ReadTuple(withConditional: false);
            ExpectEnd();
            branches.Add(new(condition, template.ReadBlock("elif", "else", "endif")));
        }
        while (cursor.TryName("elif"));

        if (cursor.TryName("else"))
        {
            ExpectEnd();
            otherwise = template.ReadBlock("endif");
        }

        cursor.ExpectName("endif");
        ExpectEnd();
        return new IfStatement(line, [.. branches], otherwise);
    }

    private ForStatement ReadFor(int line)
    {
        Target target = ReadTarget(withNamespace: false);
        cursor.ExpectName("in");
        Expression iterable = expressions.ReadTuple(withConditional: false);
        Expression? filter = cursor.TryName("if") ? expressions.Read() : null;
        bool isRecursive = cursor.TryName("recursive");
        ExpectEnd();
        _loops++;
        Block body = template.ReadBlock("else", "endfor");
        _loops--;
        Block? otherwise = null;
        if (cursor.TryName("else"))
        {
            ExpectEnd();
            otherwise = template.ReadBlock("endfor");
        }

        cursor.ExpectName("endfor");
        ExpectEnd();
        return new ForStatement(line, target, iterable, filter, isRecursive, body, otherwise);
    }

    private Statement ReadSet(int line)
    {
        Target target = ReadTarget(withNamespace: true);
        if (cursor.TrySymbol("="))
        {
            Expression value = expressions.ReadTuple();
            ExpectEnd();
            return new SetStatement(line, target, value);
        }

        List<FilterApplication> filters = [];
        while (cursor.TrySymbol("|"))
        {
            filters.Add(_operands.ReadFilter(expressions));
        }

        return new SetBlockStatement(line, target, [.. filters], ReadBody("endset"));
    }

    private FilterBlock ReadFilterBlock(int line)
    {
        List<FilterApplication> filters = [];
        do
        {
            filters.Add(_operands.ReadFilter(expressions));
        }
        while (cursor.TrySymbol("|"));

        return new FilterBlock(line, [.. filters], ReadBody("endfilter"));
    }

    private ScopedBlock ReadWith(int line)
    {
        List<KeyValuePair<Target, Expression>> names = [];
        while (cursor.Current.Kind != TokenKind.BlockEnd)
        {
            Target target = ReadTargetItem(withNamespace: false);
            cursor.ExpectSymbol("=");
            names.Add(new(target, expressions.Read()));
            if (!cursor.TrySymbol(","))
            {
                break;
            }
        }

        return new ScopedBlock(line, [.. names], ReadBody("endwith"));
    }

    private MacroStatement ReadMacro(int line)
    {
        string name = cursor.TakeName();
        KeyValuePair<string, Expression?>[] parameters = ReadParameters();
        return new MacroStatement(line, name, new MacroDefinition(name, parameters, ReadMacroBody("endmacro")));
    }

    private CallBlock ReadCall(int line)
    {
        KeyValuePair<string, Expression?>[] parameters = cursor.Current.IsSymbol("(") ? ReadParameters() : [];
        Expression called = _operands.ReadCallTarget(expressions, out ArgumentList arguments);
        return new CallBlock(line, called, arguments, new MacroDefinition("caller", parameters, ReadMacroBody("endcall")));
    }

    private Block ReadMacroBody(string end)
    {
        // A loop around the macro is not one that the macro's body could leave.
        (int loops, _loops) = (_loops, 0);
        Block body = ReadBody(end);
        _loops = loops;
        return body;
    }

    private KeyValuePair<string, Expression?>[] ReadParameters()
    {
        List<KeyValuePair<string, Expression?>> parameters = [];
        cursor.ExpectSymbol("(");
        while (!cursor.TrySymbol(")"))
        {
            string name = cursor.TakeName();
            parameters.Add(new(name, cursor.TrySymbol("=") ? expressions.Read() : null));
            if (!cursor.TrySymbol(",") && !cursor.Current.IsSymbol(")"))
            {
                throw cursor.Unexpected("',' or ')'");
            }
        }

        return [.. parameters];
    }

    private Target ReadTarget(bool withNamespace)
    {
        Target first = ReadTargetItem(withNamespace);
        if (!cursor.Current.IsSymbol(","))
        {
            return first;
        }

        List<Target> targets = [first];
        while (cursor.TrySymbol(",") && (cursor.Current.IsSymbol("(") || (cursor.Current.Kind == TokenKind.Name && !cursor.Current.IsName("in"))))
        {
            targets.Add(ReadTargetItem(withNamespace));
        }

        return new TupleTarget([.. targets]);
    }

    private Target ReadTargetItem(bool withNamespace)
    {
        cursor.Enter();
        Target target;
        if (cursor.TrySymbol("("))
        {
            target = ReadTarget(withNamespace);
            cursor.ExpectSymbol(")");
        }
        else
        {
            string name = cursor.TakeName();
            if (name is "true" or "false" or "none" or "True" or "False" or "None")
            {
                throw cursor.Error($"cannot assign to '{name}'");
            }

            target = withNamespace && cursor.TrySymbol(".") ? new NamespaceTarget(name, cursor.TakeName()) : new NameTarget(name);
        }

        cursor.Leave();
        return target;
    }
}
