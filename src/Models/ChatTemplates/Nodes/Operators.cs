using System.Text;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Nodes;

internal sealed class ArithmeticOperator(string symbol, Expression left, Expression right) : Expression
{
    protected override object? EvaluateCore(RenderContext context) =>
        Arithmetic.Apply(context.Budget, symbol, left.Evaluate(context), right.Evaluate(context));
}

internal sealed class SignOperator(bool isNegative, Expression operand) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        object? value = operand.Evaluate(context);
        return isNegative ? Arithmetic.Negate(value) : Arithmetic.Plus(value);
    }
}

/// <summary><c>a ~ b ~ c</c>: the texts of all parts.</summary>
internal sealed class Concatenation(Expression[] parts) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        StringBuilder text = new();
        foreach (Expression part in parts)
        {
            string next = PythonText.Str(context.Budget, part.Evaluate(context));
            context.Budget.Allocate(next.Length);
            text.Append(next);
        }

        return text.ToString();
    }
}

/// <summary><c>a and b</c>, <c>a or b</c>: the value of the operand that decides.</summary>
internal sealed class LogicalOperator(bool isAnd, Expression left, Expression right) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        object? value = left.Evaluate(context);
        return Comparison.IsTrue(value) == isAnd ? right.Evaluate(context) : value;
    }
}

internal sealed class NotOperator(Expression operand) : Expression
{
    protected override object? EvaluateCore(RenderContext context) => !Comparison.IsTrue(operand.Evaluate(context));
}

/// <summary><c>a &lt; b == c</c>: each neighbour compared with the next, up to the first that does not hold.</summary>
internal sealed class ComparisonChain(Expression first, KeyValuePair<string, Expression>[] rest) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        object? left = first.Evaluate(context);
        foreach (KeyValuePair<string, Expression> one in rest)
        {
            object? right = one.Value.Evaluate(context);
            if (!Holds(context.Budget, one.Key, left, right))
            {
                return false;
            }

            left = right;
        }

        return true;
    }

    private static bool Holds(RenderBudget budget, string symbol, object? left, object? right) => symbol switch
    {
        "==" => Comparison.AreEqual(budget, left, right),
        "!=" => !Comparison.AreEqual(budget, left, right),
        "in" => Comparison.Contains(budget, right, left),
        "not in" => !Comparison.Contains(budget, right, left),
        _ => Comparison.Ordered(budget, symbol, left, right),
    };
}

/// <summary><c>a if b else c</c>; without <c>else</c> the other value is undefined.</summary>
internal sealed class Conditional(Expression condition, Expression then, Expression? otherwise) : Expression
{
    protected override object? EvaluateCore(RenderContext context)
    {
        if (Comparison.IsTrue(condition.Evaluate(context)))
        {
            return then.Evaluate(context);
        }

        return otherwise is null
            ? new Undefined("the inline if-expression evaluated to false and no else section was defined.")
            : otherwise.Evaluate(context);
    }
}
