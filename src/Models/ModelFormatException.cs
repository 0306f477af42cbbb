namespace InferenceServer.Models;

/// <summary>A model folder that cannot be served; the message names the file, the field or tensor, what was found and what is needed.</summary>
public sealed class ModelFormatException : Exception
{
    public ModelFormatException(string file, string problem, Exception? inner = null)
        : base($"{file}: {problem}", inner)
    {
        File = file;
    }

    /// <summary>The file at fault.</summary>
    public string File { get; }
}
