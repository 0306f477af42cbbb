using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Models.Checkpoints;

/// <summary>
/// The tensors of a Hugging Face folder: <c>model.safetensors</c>, or the shards that <c>model.safetensors.index.json</c> names;
/// memory-mapped, read when asked for. Nothing outside the folder is ever opened.
/// </summary>
public sealed class Checkpoint : IDisposable
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";
    private const int MaxIndexBytes = 64 << 20;

    private readonly List<SafetensorsFile> _files;
    private readonly Dictionary<string, SafetensorsFile> _byTensor;

    private Checkpoint(List<SafetensorsFile> files, Dictionary<string, SafetensorsFile> byTensor)
    {
        _files = files;
        _byTensor = byTensor;
    }

    /// <summary>All tensors, in the order of their files.</summary>
    public IEnumerable<CheckpointTensor> Tensors => _byTensor.Select(pair => new CheckpointTensor(pair.Value, pair.Value.Find(pair.Key)));

    /// <summary>Opens the checkpoint of a folder and checks every header.</summary>
    /// <exception cref="ModelFormatException">A file is missing or broken.</exception>
    public static Checkpoint Open(string folder)
    {
        List<SafetensorsFile> files = [];
        try
        {
            string single = Path.Combine(folder, SingleFile);
            if (File.Exists(single))
            {
                files.Add(SafetensorsFile.Open(single));
                return new Checkpoint(files, files[0].Entries.Keys.ToDictionary(name => name, _ => files[0], StringComparer.Ordinal));
            }

            string index = Path.Combine(folder, IndexFile);
            if (File.Exists(index))
            {
                return OpenShards(folder, index, files);
            }
        }
        catch (SafetensorsFormatException error)
        {
            Close(files);
            throw new ModelFormatException(error.File, error.Problem, error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Close(files);
            throw new ModelFormatException(SingleFile, $"cannot be read: {error.Message}", error);
        }
        catch
        {
            Close(files);
            throw;
        }

        throw new ModelFormatException(SingleFile, $"not found in {folder}, nor {IndexFile} (pickled .bin checkpoints are never opened)");
    }

    /// <summary>Whether there is a tensor of this name.</summary>
    public bool Has(string name) => _byTensor.ContainsKey(name);

    /// <summary>Checks that a tensor is there, is a weight type and has this shape.</summary>
    /// <exception cref="ModelFormatException">It is not.</exception>
    public CheckpointTensor Find(string name, params ReadOnlySpan<long> shape)
    {
        if (!_byTensor.TryGetValue(name, out SafetensorsFile? file))
        {
            throw new ModelFormatException(_files[0].Name, $"tensor '{name}' is missing");
        }

        SafetensorsEntry entry = file.Find(name);
        if (!entry.Type.IsWeight())
        {
            throw new ModelFormatException(file.Name, $"tensor '{name}' is {entry.Type}; F32, F16 or BF16 is needed");
        }

        if (!shape.SequenceEqual(entry.Shape))
        {
            throw new ModelFormatException(file.Name, $"tensor '{name}' has shape {entry.ShapeText}, but config.json asks for [{string.Join(", ", shape.ToArray())}]");
        }

        return new CheckpointTensor(file, entry);
    }

    /// <summary>Bytes of all files.</summary>
    public long ByteCount => _files.Sum(file => file.ByteCount);

    /// <summary>
    /// Adds to a hash what tells this checkpoint from others: of each file the name, the time of the last change, and
    /// <see cref="SafetensorsFile.AppendIdentity"/>.
    /// </summary>
    public void AppendIdentity(IncrementalHash hash)
    {
        ArgumentNullException.ThrowIfNull(hash);
        foreach (SafetensorsFile file in _files)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"{file.Name}\n{File.GetLastWriteTimeUtc(file.FilePath).Ticks}\n")));
            file.AppendIdentity(hash);
        }
    }

    public void Dispose() => Close(_files);

    private static Checkpoint OpenShards(string folder, string indexPath, List<SafetensorsFile> files)
    {
        long length = new FileInfo(indexPath).Length;
        if (length > MaxIndexBytes)
        {
            throw new ModelFormatException(IndexFile, $"{length} bytes exceed the limit {MaxIndexBytes}");
        }

        Dictionary<string, string> map = ReadIndex(File.ReadAllBytes(indexPath));
        Dictionary<string, SafetensorsFile> opened = new(StringComparer.Ordinal);
        Dictionary<string, SafetensorsFile> byTensor = new(StringComparer.Ordinal);
        foreach ((string tensor, string shard) in map)
        {
            if (!opened.TryGetValue(shard, out SafetensorsFile? file))
            {
                // The index is data from outside: a shard is a plain file name in this folder.
                if (shard != Path.GetFileName(shard) || !shard.EndsWith(".safetensors", StringComparison.Ordinal))
                {
                    throw new ModelFormatException(IndexFile, $"weight_map names '{shard}', which is not a .safetensors file name in this folder");
                }

                string path = Path.Combine(folder, shard);
                if (!File.Exists(path))
                {
                    throw new ModelFormatException(IndexFile, $"weight_map names '{shard}', which is not there");
                }

                file = SafetensorsFile.Open(path);
                files.Add(file);
                opened.Add(shard, file);
            }

            if (!file.Entries.ContainsKey(tensor))
            {
                throw new ModelFormatException(shard, $"tensor '{tensor}', promised by {IndexFile}, is missing");
            }

            byTensor.Add(tensor, file);
        }

        return files.Count > 0 ? new Checkpoint(files, byTensor) : throw new ModelFormatException(IndexFile, "weight_map is empty");
    }

    private static Dictionary<string, string> ReadIndex(byte[] json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 8 });
            if (document.RootElement.ValueKind != JsonValueKind.Object
                || !document.RootElement.TryGetProperty("weight_map", out JsonElement map)
                || map.ValueKind != JsonValueKind.Object)
            {
                throw new ModelFormatException(IndexFile, "has no weight_map object");
            }

            Dictionary<string, string> names = new(StringComparer.Ordinal);
            foreach (JsonProperty property in map.EnumerateObject())
            {
                names[property.Name] = property.Value.GetString() ?? throw new ModelFormatException(IndexFile, $"weight_map '{property.Name}' is null");
            }

            return names;
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new ModelFormatException(IndexFile, $"not valid: {error.Message}", error);
        }
    }

    private static void Close(List<SafetensorsFile> files)
    {
        foreach (SafetensorsFile file in files)
        {
            file.Dispose();
        }
    }
}
