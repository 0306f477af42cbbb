namespace InferenceServer.Server.Hosting;

/// <summary>The server does not take requests at the moment: it is loading its model, or stopping.</summary>
public sealed class NotServingException(string message) : Exception(message);
