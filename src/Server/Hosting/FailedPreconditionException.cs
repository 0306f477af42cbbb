namespace InferenceServer.Server.Hosting;

/// <summary>The call is right, but not in the state that things are in; the message says what has to be done first.</summary>
public sealed class FailedPreconditionException(string message) : Exception(message);
