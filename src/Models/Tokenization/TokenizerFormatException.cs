namespace InferenceServer.Models.Tokenization;

/// <summary>A tokenizer file is malformed, contradicts itself, or asks for something that this tokenizer does not do.</summary>
public sealed class TokenizerFormatException : Exception
{
    /// <param name="file">The file at fault.</param>
    /// <param name="field">The path of the field inside the file, for example <c>model.merges[12]</c>.</param>
    /// <param name="problem">What is wrong with it, with the value found.</param>
    /// <param name="inner">The error below, when there is one.</param>
    public TokenizerFormatException(string file, string field, string problem, Exception? inner = null)
        : base($"{file}: {field}: {problem}", inner)
    {
        File = file;
        Field = field;
    }

    /// <summary>The file at fault.</summary>
    public string File { get; }

    /// <summary>The path of the field inside the file.</summary>
    public string Field { get; }
}
