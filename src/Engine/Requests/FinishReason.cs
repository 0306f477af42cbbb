namespace InferenceServer.Engine.Requests;

/// <summary>Why a generation ended in order. Cancellation, expiry and failure are not in here: they end the stream with an exception.</summary>
public enum FinishReason
{
    None,

    /// <summary>An end token, a stop token or a stop string.</summary>
    Stop,

    /// <summary>The token limit, or the model's context is full.</summary>
    Length,
}
