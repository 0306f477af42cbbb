namespace InferenceServer.Engine.Errors;

/// <summary>A request asks for something that does not exist or is out of bounds; asking again will not help.</summary>
public sealed class InvalidRequestException : Exception
{
    /// <param name="field">The request's field as the protocol names it, for example <c>sampling.top_p</c>.</param>
    /// <param name="message">Value and limit.</param>
    public InvalidRequestException(string field, string message)
        : base($"{field}: {message}") => Field = field;

    /// <inheritdoc cref="InvalidRequestException(string, string)"/>
    public InvalidRequestException(string field, string message, Exception inner)
        : base($"{field}: {message}", inner) => Field = field;

    /// <summary>The field that is wrong.</summary>
    public string Field { get; }
}
