namespace InferenceServer.TestKit.Workloads;

/// <summary>Deals adapters to the requests of a batch.</summary>
public static class AdapterWorkload
{
    /// <summary>Requests of an adapter over those of the next one in <see cref="AdapterPopularity.Skewed"/>.</summary>
    public const double SkewRatio = 1.5;

    /// <summary>The number of the adapter of each request, from 0; -1 for none. The same seed deals the same.</summary>
    /// <param name="popularity">How they spread.</param>
    /// <param name="requests">Requests to deal to.</param>
    /// <param name="adapters">Adapters that exist; the requests share these when the shape asks for more.</param>
    /// <param name="seed">
    /// Of the order in which they are dealt, so that requests of an adapter do not lie side by side, and of the choice that Distinct makes.
    /// </param>
    public static int[] Deal(AdapterPopularity popularity, int requests, int adapters, int seed)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(requests);
        ArgumentOutOfRangeException.ThrowIfLessThan(adapters, 1);
        int[] dealt = popularity switch
        {
            AdapterPopularity.Base => Enumerable.Repeat(-1, requests).ToArray(),
            AdapterPopularity.Identical => new int[requests],
            AdapterPopularity.Uniform => InTurn(requests, Math.Min(adapters, (int)Math.Ceiling(Math.Sqrt(requests)))),
            AdapterPopularity.Skewed => Skewed(requests, adapters),
            AdapterPopularity.Distinct => Drawn(requests, adapters, seed),
            _ => throw new ArgumentOutOfRangeException(nameof(popularity), popularity, "no such shape"),
        };
        new Random(seed).Shuffle(dealt);
        return dealt;
    }

    /// <summary>Any of those that exist, each once before one comes again: in time all of them are asked for.</summary>
    private static int[] Drawn(int requests, int adapters, int seed)
    {
        int[] all = [.. Enumerable.Range(0, adapters)];
        new Random(~seed).Shuffle(all);
        return [.. InTurn(requests, adapters).Select(i => all[i])];
    }

    private static int[] InTurn(int requests, int adapters)
    {
        int[] dealt = new int[requests];
        for (int i = 0; i < requests; i++)
        {
            dealt[i] = i % adapters;
        }

        return dealt;
    }

    /// <summary>Geometric shares, brought to whole requests by the largest remainders, which keeps the more popular ahead.</summary>
    private static int[] Skewed(int requests, int adapters)
    {
        double[] shares = [.. Enumerable.Range(0, adapters).Select(i => Math.Pow(SkewRatio, -i))];
        double scale = requests / shares.Sum();
        int[] counts = [.. shares.Select(share => (int)(share * scale))];
        int left = requests - counts.Sum();
        foreach (int i in Enumerable.Range(0, adapters).OrderByDescending(i => (shares[i] * scale) - counts[i]).Take(left))
        {
            counts[i]++;
        }

        return [.. counts.SelectMany((count, i) => Enumerable.Repeat(i, count))];
    }
}
