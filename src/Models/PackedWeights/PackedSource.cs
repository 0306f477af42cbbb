using InferenceServer.Models.Checkpoints;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.Models.PackedWeights;

/// <summary>
/// One load's side of the cache: gives the matrices that are there already, takes note of all, and writes them when any was missing.
/// </summary>
internal sealed class PackedSource : IDisposable
{
    private readonly PackedWeightCache _cache;
    private readonly IPackedWeightBackend _backend;
    private readonly Func<string> _createKey;
    private readonly string _key;
    private readonly string _path;
    private readonly List<WeightMatrix> _matrices = [];
    private PackedFile? _file;
    private bool _isComplete;

    private PackedSource(PackedWeightCache cache, IPackedWeightBackend backend, string model, WeightFormat format, Func<string> createKey)
    {
        _cache = cache;
        _backend = backend;
        _createKey = createKey;
        _key = createKey();
        _path = cache.PathOf(model, format, _key);
        _file = cache.TryOpen(_path, _key);
        _isComplete = _file is not null;
        Prepare();
    }

    /// <summary>The cache's side of this load; null when there is no cache, the backend has no form to keep, or the model is too small.</summary>
    public static PackedSource? Create(string folder, IComputeBackend backend, Checkpoint checkpoint, ModelLoadOptions options)
    {
        if (options.PackedWeights is not { } cache || backend is not IPackedWeightBackend packing || !cache.IsFor(checkpoint))
        {
            return null;
        }

        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        return new PackedSource(
            cache,
            packing,
            Path.GetFileName(full),
            options.Weights,
            () => PackedKey.Create(packing, checkpoint, options.Weights, options.HeadFormat, File.ReadAllBytes(Path.Combine(full, "config.json"))));
    }

    /// <summary>A matrix from the file; null when it has to be packed.</summary>
    public WeightMatrix? TryRead(int rows, int columns, WeightFormat format, string label)
    {
        if (_file?.Find(rows, columns, format, label) is { } section)
        {
            try
            {
                return _backend.CreateMatrix(_file, section);
            }
            catch (Exception error) when (error is PackedFileException or IOException)
            {
                Refuse(error is PackedFileException broken ? broken.Problem : error.Message);
            }
        }
        else if (_file is not null)
        {
            Refuse($"'{label}' [{rows}, {columns}] in {format} is missing");
        }

        return null;
    }

    /// <summary>Takes note of a matrix of the model, read or packed.</summary>
    public void Add(WeightMatrix matrix) => _matrices.Add(matrix);

    /// <summary>The model is loaded: begins to write it when it was not there.</summary>
    /// <returns>The writing, to be disposed of before the matrices; null when there is nothing to write.</returns>
    public PackedSave? Finish()
    {
        if (_isComplete)
        {
            _cache.Used(_file!);
            return null;
        }

        return new PackedSave(_cache, _path, _key, _backend, _matrices, () => _createKey() == _key);
    }

    public void Dispose() => _file?.Dispose();

    private void Prepare()
    {
        try
        {
            if (_file is not null)
            {
                _backend.Prepare(_file);
            }
        }
        catch (Exception error) when (error is PackedFileException or IOException)
        {
            Refuse(error is PackedFileException broken ? broken.Problem : error.Message);
        }
    }

    private void Refuse(string problem)
    {
        _cache.Refuse(_path, problem);
        _file?.Dispose();
        _file = null;
        _isComplete = false;
    }
}
