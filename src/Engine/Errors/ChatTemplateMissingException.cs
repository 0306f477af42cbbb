namespace InferenceServer.Engine.Errors;

/// <summary>A chat was asked of a model that has no chat template.</summary>
public sealed class ChatTemplateMissingException : Exception
{
    public ChatTemplateMissingException()
        : base("chat: the model has no chat template; give text or token_ids")
    {
    }
}
