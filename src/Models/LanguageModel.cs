using InferenceServer.Models.ChatTemplates;
using InferenceServer.Models.Tokenization;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;

namespace InferenceServer.Models;

/// <summary>Everything in a Hugging Face model folder: the transformer, its tokenizer, chat templates and generation defaults.</summary>
public sealed class LanguageModel : IDisposable
{
    private LanguageModel(string folder, TransformerModel transformer, Tokenizer? tokenizer, ChatTemplateSet? chatTemplates, GenerationDefaults defaults)
    {
        Folder = folder;
        Name = Path.GetFileName(folder);
        Transformer = transformer;
        Tokenizer = tokenizer;
        ChatTemplates = chatTemplates;
        Defaults = defaults;
    }

    /// <summary>Where it was loaded from: a full path.</summary>
    public string Folder { get; }

    /// <summary>The folder's name.</summary>
    public string Name { get; }

    public TransformerModel Transformer { get; }

    /// <summary>Null when the folder has no tokenizer.json: token ids in, token ids out.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>Null when the folder has none, or no tokenizer.</summary>
    public ChatTemplateSet? ChatTemplates { get; }

    public GenerationDefaults Defaults { get; }

    /// <summary>Loads a folder; the small files first, so that their errors do not wait for the weights.</summary>
    /// <exception cref="ModelFormatException">The folder cannot be served.</exception>
    public static LanguageModel Load(string folder, IComputeBackend backend, ModelLoadOptions options, IProgress<LoadProgress>? progress = null)
    {
        string full = Path.GetFullPath(folder);
        if (!Directory.Exists(full))
        {
            throw new ModelFormatException(folder, "is not a folder");
        }

        Tokenizer? tokenizer = null;
        ChatTemplateSet? templates = null;
        try
        {
            if (File.Exists(Path.Combine(full, Tokenizer.FileName)))
            {
                tokenizer = Tokenizer.FromFolder(full);
                templates = ChatTemplateSet.FromFolder(full);
            }
        }
        catch (Exception error) when (error is TokenizerFormatException or ChatTemplateException)
        {
            throw new ModelFormatException(Path.GetFileName(full), error.Message, error);
        }

        TransformerModel transformer = TransformerModel.Load(full, backend, options, progress);
        try
        {
            return new LanguageModel(
                Path.TrimEndingDirectorySeparator(full),
                transformer,
                tokenizer,
                templates,
                GenerationDefaults.Read(full, transformer.Config));
        }
        catch
        {
            transformer.Dispose();
            throw;
        }
    }

    public void Dispose() => Transformer.Dispose();
}
