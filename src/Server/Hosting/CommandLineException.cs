namespace InferenceServer.Server.Hosting;

/// <summary>The command line or an environment variable says something that the server does not understand.</summary>
public sealed class CommandLineException(string message) : Exception(message);
