using InferenceServer.TestKit.Workloads;
using Xunit;

namespace InferenceServer.UnitTests.Workloads;

public sealed class AdapterWorkloadTests
{
    [Theory]
    [InlineData(AdapterPopularity.Base)]
    [InlineData(AdapterPopularity.Identical)]
    [InlineData(AdapterPopularity.Uniform)]
    [InlineData(AdapterPopularity.Skewed)]
    [InlineData(AdapterPopularity.Distinct)]
    public void Every_request_is_dealt_an_adapter_that_exists_and_the_same_seed_deals_the_same(AdapterPopularity popularity)
    {
        foreach (int requests in new[] { 0, 1, 2, 15, 16, 17, 64 })
        {
            foreach (int adapters in new[] { 1, 2, 16, 1000 })
            {
                int[] dealt = AdapterWorkload.Deal(popularity, requests, adapters, seed: 5);

                Assert.Equal(requests, dealt.Length);
                Assert.All(dealt, adapter => Assert.InRange(adapter, popularity == AdapterPopularity.Base ? -1 : 0, adapters - 1));
                Assert.Equal(dealt, AdapterWorkload.Deal(popularity, requests, adapters, seed: 5));
            }
        }
    }

    [Fact]
    public void Base_has_no_adapter_and_identical_one()
    {
        Assert.Equal([-1], AdapterWorkload.Deal(AdapterPopularity.Base, 16, 16, seed: 1).Distinct());
        Assert.Equal([0], AdapterWorkload.Deal(AdapterPopularity.Identical, 16, 16, seed: 1).Distinct());
    }

    [Fact]
    public void Distinct_is_all_different()
    {
        Assert.Equal(32, AdapterWorkload.Deal(AdapterPopularity.Distinct, 32, 100, seed: 1).Distinct().Count());
    }

    [Fact]
    public void Distinct_asks_for_all_adapters_in_time()
    {
        int[] dealt = [.. Enumerable.Range(0, 100).SelectMany(seed => AdapterWorkload.Deal(AdapterPopularity.Distinct, 16, 40, seed))];

        Assert.Equal(40, dealt.Distinct().Count());
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(8, 3)]
    [InlineData(16, 4)]
    [InlineData(17, 5)]
    [InlineData(64, 8)]
    public void Uniform_shares_the_root_of_the_requests_equally(int requests, int adapters)
    {
        int[] counts = Counts(AdapterPopularity.Uniform, requests);

        Assert.Equal(adapters, counts.Length);
        Assert.InRange(counts.Max() - counts.Min(), 0, 1);
    }

    [Fact]
    public void Skewed_gives_each_adapter_half_as_much_again_as_the_next()
    {
        int[] counts = Counts(AdapterPopularity.Skewed, 100_000);

        for (int i = 1; counts[i] >= 1000; i++)
        {
            // Whole requests: each count is within one of its share.
            Assert.InRange(counts[i - 1] - (AdapterWorkload.SkewRatio * counts[i]), -2.5, 2.5);
        }

        Assert.Equal([5, 4, 2, 2, 1, 1, 1], Counts(AdapterPopularity.Skewed, 16));
    }

    [Fact]
    public void Another_seed_deals_the_same_shares_in_another_order()
    {
        int[] one = AdapterWorkload.Deal(AdapterPopularity.Skewed, 64, 64, seed: 1);
        int[] other = AdapterWorkload.Deal(AdapterPopularity.Skewed, 64, 64, seed: 2);

        Assert.NotEqual(one, other);
        Assert.Equal(one.Order(), other.Order());
    }

    private static int[] Counts(AdapterPopularity popularity, int requests) =>
        [.. AdapterWorkload.Deal(popularity, requests, 1000, seed: 3).CountBy(adapter => adapter).OrderBy(pair => pair.Key).Select(pair => pair.Value)];
}
