using InferenceServer.Cuda;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Each barrier and each mask of the sampling kernels is needed, and a test sees it when it is missing.</summary>
[Collection(StandInCollection.Name)]
public sealed class SamplingMutationTests(ITestOutputHelper output)
{
    [StandInFact]
    public void A_missing_barrier_or_mask_is_noticed()
    {
        IReadOnlyList<string> sites;
        using (CudaBackend backend = CudaTestBackend.Create())
        {
            sites = StandIn.SitesReachedBy(() => SamplingBench.DrawMix(backend));
        }

        List<string> unnoticed = [];
        foreach (string site in sites)
        {
            StandIn.Omit(site);
            string noticed = "";
            try
            {
                using CudaBackend backend = CudaTestBackend.Create();
                SamplingBench.DrawMix(backend);
                unnoticed.Add(site);
            }
            catch (Exception error)
            {
                noticed = error.Message.Split('\n')[0];
            }
            finally
            {
                StandIn.Omit("");
                StandIn.Reset();
            }

            output.WriteLine($"{site}: {noticed}");
        }

        Assert.NotEmpty(sites);
        Assert.True(unnoticed.Count == 0, $"not noticed:\n{string.Join('\n', unnoticed)}");
    }
}
