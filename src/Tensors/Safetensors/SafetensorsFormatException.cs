namespace InferenceServer.Tensors.Safetensors;

/// <summary>A safetensors file that breaks its format; the message names the file and what is wrong with it.</summary>
public sealed class SafetensorsFormatException : Exception
{
    public SafetensorsFormatException(string file, string problem, Exception? inner = null)
        : base($"{file}: {problem}", inner)
    {
        File = file;
        Problem = problem;
    }

    /// <summary>The file's name as the caller gave it.</summary>
    public string File { get; }

    /// <summary>What is wrong, without the file's name.</summary>
    public string Problem { get; }
}
