using System.Security.Cryptography;

namespace InferenceServer.Client;

/// <summary>The two files of an adapter as PEFT's save_pretrained writes them.</summary>
internal sealed class AdapterFolder
{
    private static readonly string[] s_names = ["adapter_config.json", "adapter_model.safetensors"];

    private AdapterFolder(IReadOnlyList<FileInfo> files)
    {
        Files = files;
    }

    /// <summary>In the order in which they are sent: the config first, so that the server can refuse before the weights.</summary>
    public IReadOnlyList<FileInfo> Files { get; }

    public long TotalBytes => Files.Sum(file => file.Length);

    /// <exception cref="FileNotFoundException">The folder is not an adapter.</exception>
    public static AdapterFolder Open(string folder)
    {
        List<FileInfo> files = [];
        foreach (string name in s_names)
        {
            FileInfo file = new(Path.Combine(folder, name));
            if (!file.Exists)
            {
                throw new FileNotFoundException(
                    $"'{folder}' has no {name}; an adapter folder holds {string.Join(" and ", s_names)}.", file.FullName);
            }

            files.Add(file);
        }

        return new AdapterFolder(files);
    }

    public static async Task<string> HashAsync(FileInfo file, CancellationToken cancellationToken)
    {
        FileStream stream = file.OpenRead();
        await using (stream.ConfigureAwait(false))
        {
            return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellationToken).ConfigureAwait(false));
        }
    }
}
