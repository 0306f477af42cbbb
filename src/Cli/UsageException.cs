namespace InferenceServer.Cli;

/// <summary>What the caller asked for cannot be done as written.</summary>
internal sealed class UsageException(string message) : Exception(message);
