using System.Numerics;
using InferenceServer.Models.ChatTemplates.Builtins;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>The operators <c>+ - * / // % **</c> with Python's rules for numbers, texts and lists.</summary>
internal static class Arithmetic
{
    private const int MaxPowerBits = 1 << 14;

    public static object? Apply(RenderBudget budget, string symbol, object? left, object? right)
    {
        (left as Undefined ?? right as Undefined)?.Fail();
        if (Numbers.IsNumber(left) && Numbers.IsNumber(right))
        {
            return Numbers.IsInteger(left) && Numbers.IsInteger(right)
                ? OfIntegers(symbol, left!, right!)
                : OfFloats(symbol, Numbers.ToDouble(left!), Numbers.ToDouble(right!));
        }

        switch (symbol, left, right)
        {
            case ("+", string a, string b):
                budget.Allocate((long)a.Length + b.Length);
                return a + b;
            case ("+", TemplateSequence a, TemplateSequence b) when a.Kind == b.Kind && a.Kind is (SequenceKind.List or SequenceKind.Tuple):
                budget.AllocateItems((long)a.Items.Length + b.Items.Length);
                return new TemplateSequence([.. a.Items, .. b.Items], a.Kind);
            case ("*", string or TemplateSequence, _) when Numbers.IsInteger(right):
                return Repeat(budget, left, Numbers.ToBig(right!));
            case ("*", _, string or TemplateSequence) when Numbers.IsInteger(left):
                return Repeat(budget, right, Numbers.ToBig(left!));
            case ("%", string format, _):
                return PrintfFormat.Format(budget, format, right);
            default:
                throw new ChatTemplateException(
                    $"unsupported operand type(s) for {symbol}: '{PythonTypes.NameOf(left)}' and '{PythonTypes.NameOf(right)}'");
        }
    }

    public static object Negate(object? value) => value switch
    {
        Undefined undefined => undefined.Fail(),
        double number => -number,
        not null when Numbers.IsInteger(value) => Numbers.Normalize(-Numbers.ToBig(value)),
        _ => throw new ChatTemplateException($"bad operand type for unary -: '{PythonTypes.NameOf(value)}'"),
    };

    public static object Plus(object? value) => value switch
    {
        Undefined undefined => undefined.Fail(),
        double number => number,
        not null when Numbers.IsInteger(value) => Numbers.Normalize(Numbers.ToBig(value)),
        _ => throw new ChatTemplateException($"bad operand type for unary +: '{PythonTypes.NameOf(value)}'"),
    };

    private static object OfIntegers(string symbol, object left, object right)
    {
        if (left is long x && right is long y && symbol is ("+" or "-"))
        {
            Int128 sum = symbol == "+" ? (Int128)x + y : (Int128)x - y;
            return sum >= long.MinValue && sum <= long.MaxValue ? (object)(long)sum : (BigInteger)sum;
        }

        BigInteger a = Numbers.ToBig(left);
        BigInteger b = Numbers.ToBig(right);
        if (symbol is ("/" or "//" or "%") && b.IsZero)
        {
            throw new ChatTemplateException("division by zero");
        }

        return symbol switch
        {
            "+" => Numbers.Normalize(a + b),
            "-" => Numbers.Normalize(a - b),
            "*" => Numbers.Normalize(a * b),
            "/" => (double)a / (double)b,
            "//" => Numbers.Normalize(FloorDivide(a, b)),
            "%" => Numbers.Normalize(a - (FloorDivide(a, b) * b)),
            _ => Power(a, b),
        };
    }

    private static BigInteger FloorDivide(BigInteger left, BigInteger right)
    {
        BigInteger quotient = BigInteger.DivRem(left, right, out BigInteger rest);
        return !rest.IsZero && rest.Sign != right.Sign ? quotient - 1 : quotient;
    }

    private static object Power(BigInteger value, BigInteger exponent)
    {
        if (exponent.Sign < 0)
        {
            return value.IsZero ? throw new ChatTemplateException("division by zero") : Math.Pow((double)value, (double)exponent);
        }

        bool isSmall = value.IsZero || BigInteger.Abs(value).IsOne || exponent * value.GetBitLength() <= MaxPowerBits;
        if (!isSmall)
        {
            throw new ChatTemplateException($"the result of ** has more than {MaxPowerBits} bits");
        }

        // 0, 1 and -1 to a huge power: only its parity counts.
        return Numbers.Normalize(BigInteger.Pow(value, exponent > MaxPowerBits ? (exponent.IsEven ? 2 : 1) : (int)exponent));
    }

    private static double OfFloats(string symbol, double left, double right)
    {
        if (symbol is ("/" or "//" or "%") && right == 0)
        {
            throw new ChatTemplateException("division by zero");
        }

        return symbol switch
        {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => left / right,
            "//" => Math.Floor(left / right),
            "%" => left - (Math.Floor(left / right) * right),
            _ => Math.Pow(left, right),
        };
    }

    private static object Repeat(RenderBudget budget, object? value, BigInteger count)
    {
        int length = value is string text ? text.Length : ((TemplateSequence)value!).Items.Length;
        int times = count.Sign <= 0 || length == 0 ? 0 : (int)BigInteger.Min(count, int.MaxValue);
        if (value is string repeated)
        {
            budget.Allocate((long)times * length);
            return string.Create(times * length, repeated, static (all, one) =>
            {
                for (int at = 0; at < all.Length; at += one.Length)
                {
                    one.CopyTo(all[at..]);
                }
            });
        }

        TemplateSequence sequence = (TemplateSequence)value!;
        budget.AllocateItems((long)times * length);
        return new TemplateSequence([.. Enumerable.Repeat(sequence.Items, times).SelectMany(items => items)], sequence.Kind);
    }
}
