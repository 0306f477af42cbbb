namespace InferenceServer.TestKit.Workloads;

/// <summary>How requests spread over adapters; the four shapes of Punica's paper (arXiv 2310.18547, section 7) and the base alone.</summary>
public enum AdapterPopularity
{
    /// <summary>No adapter: what the others are measured against.</summary>
    Base,

    /// <summary>One adapter for all.</summary>
    Identical,

    /// <summary>The square root of the requests, rounded up, as adapters with equal shares.</summary>
    Uniform,

    /// <summary>Each adapter has 1.5 times the requests of the next one.</summary>
    Skewed,

    /// <summary>Each request has its own adapter.</summary>
    Distinct,
}
