namespace InferenceServer.Tensors.Sampling;

/// <summary>Whether a token could be drawn.</summary>
public enum SampleStatus
{
    Sampled,

    /// <summary>The logits hold a NaN or an infinity.</summary>
    NotFinite,

    /// <summary>Bans and biases leave no token.</summary>
    NothingLeft,
}
