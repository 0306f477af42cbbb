namespace InferenceServer.Tensors;

/// <summary>
/// What an adapter must fit: every module of the base model that can be adapted, and how to read its base weights (DoRA's norms and
/// bias differences need them once, at import).
/// </summary>
public sealed class ModelShape
{
    private readonly Dictionary<string, ModuleShape> _byPath;

    /// <param name="name">Name of the base model, for messages.</param>
    /// <param name="layerCount">Decoder layers.</param>
    /// <param name="hasTiedEmbeddings">Whether lm_head and the embedding are one weight.</param>
    /// <param name="outputHeadPath">Path of the output head (lm_head), which "all-linear" leaves out.</param>
    /// <param name="modules">All modules, in index order.</param>
    /// <param name="readRows">Reads logical <c>[out, in]</c> rows (for an embedding <c>[vocabulary, hidden]</c> rows, for a norm its weight as one row) of a module as f32.</param>
    /// <param name="readBias">Reads a module's bias, or null when it has none.</param>
    /// <param name="readUsedRows">Reads the same rows as the base multiplies by them when it is quantised; null when it is not.</param>
    public ModelShape(
        string name,
        int layerCount,
        bool hasTiedEmbeddings,
        string outputHeadPath,
        IReadOnlyList<ModuleShape> modules,
        Action<ModuleShape, int, Memory<float>> readRows,
        Func<ModuleShape, float[]?> readBias,
        Action<ModuleShape, int, Memory<float>>? readUsedRows = null)
    {
        Name = name;
        LayerCount = layerCount;
        HasTiedEmbeddings = hasTiedEmbeddings;
        OutputHeadPath = outputHeadPath;
        Modules = modules;
        ReadRows = readRows;
        ReadBias = readBias;
        ReadUsedRows = readUsedRows ?? readRows;
        _byPath = modules.ToDictionary(module => module.Path, StringComparer.Ordinal);
    }

    public string Name { get; }

    public int LayerCount { get; }

    public bool HasTiedEmbeddings { get; }

    public string OutputHeadPath { get; }

    public IReadOnlyList<ModuleShape> Modules { get; }

    /// <summary>
    /// Reads whole rows of a module's base weight as the checkpoint has it, starting at the given row, into the destination (a multiple of
    /// the row length).
    /// </summary>
    public Action<ModuleShape, int, Memory<float>> ReadRows { get; }

    /// <summary>
    /// Reads the same rows as the base multiplies by them when it is quantised, and as the checkpoint has them when it is not: for what
    /// depends on the weight beside which an adapter runs (DoRA's norms, starts that decompose the weight).
    /// </summary>
    public Action<ModuleShape, int, Memory<float>> ReadUsedRows { get; }

    /// <summary>Reads a module's base bias; null when it has none.</summary>
    public Func<ModuleShape, float[]?> ReadBias { get; }

    /// <summary>The module with this full path, or null.</summary>
    public ModuleShape? Find(string path) => _byPath.GetValueOrDefault(path);
}
