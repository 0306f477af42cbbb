namespace InferenceServer.Engine.Errors;

/// <summary>The request's deadline passed before it ended.</summary>
public sealed class DeadlineExpiredException : Exception
{
    public DeadlineExpiredException(string requestId, int newTokens)
        : base($"the deadline of request '{requestId}' passed after {newTokens} new tokens")
    {
    }
}
