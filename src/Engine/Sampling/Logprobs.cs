using System.Numerics.Tensors;
using InferenceServer.Engine.Requests;

namespace InferenceServer.Engine.Sampling;

/// <summary>Log-probabilities over the raw distribution, before any rule, temperature or filter.</summary>
internal static class Logprobs
{
    /// <summary><c>log sum exp(logits)</c>.</summary>
    /// <param name="logits">Finite.</param>
    /// <param name="maximum">The largest logit.</param>
    public static float LogSumExp(ReadOnlySpan<float> logits, float maximum)
    {
        double sum = 0;
        foreach (float logit in logits)
        {
            sum += MathF.Exp(logit - maximum);
        }

        return maximum + (float)Math.Log(sum);
    }

    /// <summary>The best tokens, best first; of equal ones the lower id first.</summary>
    /// <param name="logits">The logits.</param>
    /// <param name="logSumExp">Their <see cref="LogSumExp"/>.</param>
    /// <param name="best">Receives as many as it holds, at most one for each logit.</param>
    public static void Best(ReadOnlySpan<float> logits, float logSumExp, Span<TokenLogprob> best)
    {
        int count = 0;
        for (int id = 0; id < logits.Length && best.Length > 0; id++)
        {
            float logprob = logits[id] - logSumExp;
            if (count == best.Length && !(logprob > best[count - 1].Logprob))
            {
                continue;
            }

            int place = count < best.Length ? count++ : count - 1;
            for (; place > 0 && best[place - 1].Logprob < logprob; place--)
            {
                best[place] = best[place - 1];
            }

            best[place] = new TokenLogprob(id, logprob);
        }
    }

    /// <summary>Whether every logit is a finite number or minus infinity, and the index of the largest (the lowest of equal ones).</summary>
    public static bool TryFindBest(ReadOnlySpan<float> logits, out int best)
    {
        best = TensorPrimitives.IndexOfMax(logits);

        // IndexOfMax finds a NaN before anything else.
        return float.IsFinite(logits[best]) || float.IsNegativeInfinity(logits[best]);
    }
}
