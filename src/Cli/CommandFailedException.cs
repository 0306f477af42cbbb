namespace InferenceServer.Cli;

/// <summary>What was asked for was done by the server, and did not succeed.</summary>
internal sealed class CommandFailedException(string message) : Exception(message);
