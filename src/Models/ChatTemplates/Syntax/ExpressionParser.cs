using InferenceServer.Models.ChatTemplates.Nodes;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Syntax;

/// <summary>
/// Reads expressions. From the loosest to the tightest: <c>if else</c>, <c>or</c>, <c>and</c>, <c>not</c>, comparisons, <c>+ -</c>,
/// <c>~</c>, <c>* / // %</c>, <c>**</c>, signs, then attributes, items, calls, filters and tests.
/// </summary>
internal sealed class ExpressionParser(TokenCursor cursor)
{
    private readonly OperandParser _operands = new(cursor);

    /// <summary>An expression, or several with commas between, which make a tuple.</summary>
    /// <param name="withConditional">Whether <c>a if b</c> may come; not where <c>if</c> means something else.</param>
    public Expression ReadTuple(bool withConditional = true)
    {
        Expression first = withConditional ? Read() : ReadOr();
        if (!cursor.Current.IsSymbol(","))
        {
            return first;
        }

        List<Expression> items = [first];
        while (cursor.TrySymbol(",") && !IsTupleEnd())
        {
            items.Add(withConditional ? Read() : ReadOr());
        }

        return new SequenceLiteral([.. items], SequenceKind.Tuple);
    }

    public Expression Read()
    {
        cursor.Enter();
        Expression value = ReadOr();
        for (int links = 0; cursor.TryName("if"); links++)
        {
            cursor.CheckChain(links);
            Expression condition = ReadOr();
            value = new Conditional(condition, value, cursor.TryName("else") ? Read() : null);
        }

        cursor.Leave();
        return value;
    }

    private bool IsTupleEnd() =>
        cursor.Current.Kind is TokenKind.OutputEnd or TokenKind.BlockEnd || cursor.Current.IsSymbol(")") || cursor.Current.IsName("recursive");

    private Expression ReadOr()
    {
        Expression left = ReadAnd();
        for (int links = 0; cursor.TryName("or"); links++)
        {
            cursor.CheckChain(links);
            left = new LogicalOperator(isAnd: false, left, ReadAnd());
        }

        return left;
    }

    private Expression ReadAnd()
    {
        Expression left = ReadNot();
        for (int links = 0; cursor.TryName("and"); links++)
        {
            cursor.CheckChain(links);
            left = new LogicalOperator(isAnd: true, left, ReadNot());
        }

        return left;
    }

    private Expression ReadNot()
    {
        int count = 0;
        while (cursor.TryName("not"))
        {
            cursor.CheckChain(++count);
        }

        Expression value = ReadComparison();
        for (; count > 0; count--)
        {
            value = new NotOperator(value);
        }

        return value;
    }

    private Expression ReadComparison()
    {
        Expression first = ReadSum();
        List<KeyValuePair<string, Expression>> rest = [];
        while (TakeComparison() is string symbol)
        {
            rest.Add(new(symbol, ReadSum()));
        }

        return rest.Count == 0 ? first : new ComparisonChain(first, [.. rest]);
    }

    private string? TakeComparison()
    {
        Token token = cursor.Current;
        if (token.Kind == TokenKind.Symbol && token.Text is ("==" or "!=" or "<" or "<=" or ">" or ">="))
        {
            return cursor.Take().Text;
        }

        if (token.IsName("not") && cursor.Following.IsName("in"))
        {
            cursor.Take();
            cursor.Take();
            return "not in";
        }

        return cursor.TryName("in") ? "in" : null;
    }

    private Expression ReadSum()
    {
        Expression left = ReadConcatenation();
        for (int links = 0; IsSymbolOf("+", "-"); links++)
        {
            cursor.CheckChain(links);
            left = new ArithmeticOperator(cursor.Take().Text, left, ReadConcatenation());
        }

        return left;
    }

    private Expression ReadConcatenation()
    {
        Expression first = ReadProduct();
        if (!cursor.Current.IsSymbol("~"))
        {
            return first;
        }

        List<Expression> parts = [first];
        while (cursor.TrySymbol("~"))
        {
            parts.Add(ReadProduct());
        }

        return new Concatenation([.. parts]);
    }

    private Expression ReadProduct()
    {
        Expression left = ReadPower();
        for (int links = 0; IsSymbolOf("*", "/", "//", "%"); links++)
        {
            cursor.CheckChain(links);
            left = new ArithmeticOperator(cursor.Take().Text, left, ReadPower());
        }

        return left;
    }

    // As in Jinja, unlike Python: ** binds to the left, and a sign binds tighter than it.
    private Expression ReadPower()
    {
        Expression left = ReadSigned(withFilters: true);
        for (int links = 0; cursor.TrySymbol("**"); links++)
        {
            cursor.CheckChain(links);
            left = new ArithmeticOperator("**", left, ReadSigned(withFilters: true));
        }

        return left;
    }

    private Expression ReadSigned(bool withFilters)
    {
        if (IsSymbolOf("-", "+"))
        {
            cursor.Enter();
            bool isNegative = cursor.Take().Text == "-";
            Expression signed = new SignOperator(isNegative, ReadSigned(withFilters: false));
            cursor.Leave();
            return withFilters ? _operands.ReadFiltersAndTests(signed, this) : signed;
        }

        Expression value = _operands.ReadPostfix(_operands.ReadPrimary(this), this);
        return withFilters ? _operands.ReadFiltersAndTests(value, this) : value;
    }

    private bool IsSymbolOf(params ReadOnlySpan<string> symbols) => cursor.Current.Kind == TokenKind.Symbol && symbols.Contains(cursor.Current.Text);
}
