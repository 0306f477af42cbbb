using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>
/// Reads what PEFT's <c>save_pretrained</c> wrote (adapter_config.json and adapter_model.safetensors) into the run-time form. Every
/// tensor must be accounted for and every targeted module must have its tensors; names, shapes, ranks and types are checked before
/// data is read, and memory taken is in proportion to the file (VeRA: to <see cref="AdapterLimits.MaxHostBytes"/>).
/// </summary>
public sealed class PeftImporter
{
    /// <summary>Name of the config in an adapter's folder.</summary>
    public const string ConfigFileName = ConfigFields.FileName;

    /// <summary>Name of the weights in an adapter's folder.</summary>
    public const string WeightsFileName = AdapterTensors.FileName;

    private readonly ModelShape _model;
    private readonly AdapterLimits _limits;

    /// <param name="model">The base model that adapters must fit.</param>
    /// <param name="limits">What they may cost.</param>
    public PeftImporter(ModelShape model, AdapterLimits? limits = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        _limits = limits ?? new AdapterLimits();
    }

    /// <summary>Imports a folder.</summary>
    /// <param name="folder">Folder with both files; others in it are ignored and never opened.</param>
    /// <param name="label">name@digest, for messages.</param>
    /// <param name="knownOutputScales">
    /// DoRA's output scales of an earlier import of the same files over the same base; null to compute them.
    /// </param>
    /// <param name="cancellation">Stops long passes.</param>
    /// <exception cref="AdapterFormatException">The adapter is not accepted.</exception>
    public ImportedAdapter Import(
        string folder,
        string label,
        IReadOnlyDictionary<string, float[]>? knownOutputScales = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(folder);
        PeftConfig config = PeftConfig.Parse(ReadConfig(folder), _limits);
        string path = WeightsPath(folder);
        try
        {
            using SafetensorsFile file = SafetensorsFile.Open(path);
            DoraScales scales = new(_model, knownOutputScales, cancellation);
            Modules modules = Read(config, file, scales, cancellation);
            AdapterWeights weights = new(label, modules.Deltas);
            return new ImportedAdapter(weights, Describe(config, file, modules, weights), scales.All);
        }
        catch (SafetensorsFormatException error)
        {
            throw new AdapterFormatException(WeightsFileName, "", "a valid safetensors file", Hint(path) + error.Problem, error);
        }
    }

    /// <summary>
    /// Imports a folder whose weights were read whole, with the same checks; the result takes matrices of A and B as they lie there.
    /// </summary>
    /// <param name="folder">Folder with the config.</param>
    /// <param name="weights">The weights file, taken over: whoever releases the result gives it back.</param>
    /// <param name="label">name@digest, for messages.</param>
    /// <param name="knownOutputScales">As for <see cref="Import"/>.</param>
    /// <param name="cancellation">Stops long passes.</param>
    /// <exception cref="AdapterFormatException">The adapter is not accepted.</exception>
    internal AdapterWeights ImportWhole(
        string folder,
        StoredBytes weights,
        string label,
        IReadOnlyDictionary<string, float[]>? knownOutputScales,
        CancellationToken cancellation)
    {
        bool isTaken = false;
        try
        {
            PeftConfig config = PeftConfig.Parse(ReadConfig(folder), _limits);
            using SafetensorsFile file = SafetensorsFile.Over(Path.Combine(folder, WeightsFileName), weights);
            IReadOnlyList<LowRankDelta?> deltas = Read(config, file, new DoraScales(_model, knownOutputScales, cancellation), cancellation).Deltas;
            isTaken = deltas.Any(delta => delta is { A.IsStored: true } or { B.IsStored: true });
            return new AdapterWeights(label, deltas, isTaken ? weights : null);
        }
        catch (SafetensorsFormatException error)
        {
            throw new AdapterFormatException(WeightsFileName, "", "a valid safetensors file", error.Problem, error);
        }
        finally
        {
            if (!isTaken)
            {
                weights.Dispose();
            }
        }
    }

    private Modules Read(PeftConfig config, SafetensorsFile file, DoraScales scales, CancellationToken cancellation)
    {
        if (file.Entries.Count > _limits.MaxTensors)
        {
            throw new AdapterFormatException(WeightsFileName, "", $"at most MaxTensors {_limits.MaxTensors} tensors", $"{file.Entries.Count}");
        }

        AdapterTensors tensors = new(file, config.Method, _model);
        bool[] targeted = [.. _model.Modules.Select(module => config.Targets(module, _model))];
        List<ModuleShape> targets = [.. _model.Modules.Where(module => targeted[module.Index])];
        DeltaReader reader = config.Method switch
        {
            AdapterMethod.Lora => new LoraReader(config, tensors, scales),
            AdapterMethod.AdaLora => new AdaLoraReader(config, tensors),
            AdapterMethod.Vera => new VeraReader(config, tensors, targets),
            AdapterMethod.Routed => new RoutedReader(config.Router!, tensors, _model),
            _ => new Ia3Reader(config, tensors, _model),
        };
        SavedParts saved = new(config, tensors, _model);
        CheckNames(config, targets);
        CheckModules(tensors, targeted, reader, saved);

        LowRankDelta?[] deltas = new LowRankDelta?[_model.Modules.Count];
        foreach (ModuleShape module in _model.Modules)
        {
            cancellation.ThrowIfCancellationRequested();
            ModuleTensors parts = tensors.Of(module);
            LowRankDelta? delta = targeted[module.Index] ? reader.Build(parts) : null;
            deltas[module.Index] = saved.Apply(parts, targeted[module.Index], delta, cancellation);
        }

        CheckTying(config, deltas);
        TieTokenRows(deltas);
        return new Modules(deltas, reader, tensors, targets);
    }

    private byte[] ReadConfig(string folder)
    {
        string path = Path.Combine(folder, ConfigFileName);
        if (!File.Exists(path))
        {
            throw new AdapterFormatException(ConfigFileName, "", "a PEFT config", "no such file");
        }

        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        if (stream.Length > _limits.MaxConfigBytes)
        {
            throw new AdapterFormatException(ConfigFileName, "", $"at most MaxConfigBytes {_limits.MaxConfigBytes} bytes", $"{stream.Length}");
        }

        byte[] json = new byte[stream.Length];
        stream.ReadExactly(json);
        return json;
    }

    private string WeightsPath(string folder)
    {
        string path = Path.Combine(folder, WeightsFileName);
        FileInfo file = new(path);
        if (!file.Exists)
        {
            string? pickle = Directory.EnumerateFiles(folder)
                .Select(Path.GetFileName)
                .Where(name => Path.GetExtension(name) is ".bin" or ".pt" or ".pth" or ".pkl" or ".ckpt")
                .Order(StringComparer.Ordinal)
                .FirstOrDefault();
            throw new AdapterFormatException(
                WeightsFileName,
                "",
                "a safetensors file",
                pickle is null ? "no such file" : $"only '{AdapterFormatException.Shown(pickle)}', a pickle, which is never opened");
        }

        return file.Length <= _limits.MaxBytes
            ? path
            : throw new AdapterFormatException(WeightsFileName, "", $"at most MaxBytes {_limits.MaxBytes} bytes", $"{file.Length}");
    }

    // Renamed files are common enough to be told apart from damaged ones.
    private static string Hint(string path)
    {
        Span<byte> start = stackalloc byte[4];
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        int count = stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        return count < 4 ? "" : start switch
        {
            [(byte)'P', (byte)'K', 3, 4] => "a zip archive (torch.save pickle), which is never opened: ",
            [0x80, >= 2 and <= 5, ..] => "a pickle, which is never opened: ",
            _ => "",
        };
    }

    private void CheckNames(PeftConfig config, List<ModuleShape> targets)
    {
        if (targets.Count == 0
            && (config.HasTargets || !_model.Modules.Any(module => config.IsSaved(module.Path) || config.TokenIndicesOf(module) is not null)))
        {
            throw new AdapterFormatException(
                ConfigFileName, "target_modules", $"modules of the base model '{_model.Name}'", "no module of that name");
        }

        // Every name that some module or a module around it could answer to; a stranger's list may be long, the model's is not.
        HashSet<string>? known = null;
        foreach (string name in config.NamesToSave)
        {
            known ??= KnownNames();
            if (!known.Contains(name))
            {
                throw new AdapterFormatException(
                    ConfigFileName, "modules_to_save", $"modules of the base model '{_model.Name}'", $"'{AdapterFormatException.Shown(name)}'");
            }
        }
    }

    private HashSet<string> KnownNames()
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (ModuleShape module in _model.Modules)
        {
            string[] parts = module.Path.Split('.');
            for (int first = 0; first < parts.Length; first++)
            {
                for (int last = first; last < parts.Length; last++)
                {
                    names.Add(string.Join('.', parts[first..(last + 1)]));
                }
            }
        }

        return names;
    }

    private void CheckModules(AdapterTensors tensors, bool[] targeted, DeltaReader reader, SavedParts saved)
    {
        long hostBytes = 0;
        foreach (ModuleShape module in _model.Modules)
        {
            ModuleTensors parts = tensors.Of(module);
            if (targeted[module.Index])
            {
                hostBytes += reader.Check(parts);
            }

            hostBytes += saved.Check(parts, targeted[module.Index]);
            parts.CheckAllUsed();
        }

        if (hostBytes > _limits.MaxHostBytes)
        {
            throw new AdapterFormatException(
                WeightsFileName, "", $"at most MaxHostBytes {_limits.MaxHostBytes} bytes in memory", $"{hostBytes}");
        }
    }

    // Without ensure_weight_tying PEFT leaves the other end of a tied weight as it was; with it both change, which is not supported.
    private void CheckTying(PeftConfig config, LowRankDelta?[] deltas)
    {
        if (!config.WantsTiedWeights || !_model.HasTiedEmbeddings)
        {
            return;
        }

        foreach (ModuleShape module in _model.Modules)
        {
            bool isTied = module.Kind == ModuleKind.Embedding || module.Path == _model.OutputHeadPath;
            if (isTied && deltas[module.Index] is { } delta && (delta.Rank > 0 || delta.Replacement is not null))
            {
                throw new AdapterFormatException(
                    ConfigFileName,
                    "ensure_weight_tying",
                    "false when embeddings or the output head of a tied model are changed",
                    $"true with '{module.Path}' changed");
            }
        }
    }

    // Trained tokens of a tied embedding are the output head's rows too.
    private void TieTokenRows(LowRankDelta?[] deltas)
    {
        if (!_model.HasTiedEmbeddings || _model.Find(_model.OutputHeadPath) is not { } head || deltas[head.Index]?.ReplacedRows is not null)
        {
            return;
        }

        ReplacedRows? rows = _model.Modules
            .Where(module => module.Kind == ModuleKind.Embedding && module.InFeatures == head.OutFeatures)
            .Select(module => deltas[module.Index]?.ReplacedRows)
            .FirstOrDefault(replaced => replaced is not null);
        if (rows is not null)
        {
            deltas[head.Index] = (deltas[head.Index] ?? new LowRankDelta()) with { ReplacedRows = rows };
        }
    }

    private AdapterManifest Describe(
        PeftConfig config,
        SafetensorsFile file,
        Modules modules,
        AdapterWeights weights)
    {
        (_, DeltaReader reader, AdapterTensors tensors, List<ModuleShape> targets) = modules;
        List<DType> types = [.. file.Entries.Values.Select(entry => entry.Type).Distinct()];
        return new AdapterManifest
        {
            Method = config.Method,
            UsesDora = config.UsesDora,
            UsesRankStabilisedScale = config.UsesRankStabilisedScale,
            Rank = config.Rank,
            RoutedAdapters = config.Router?.Adapters ?? [],
            Alpha = config.Alpha,
            BaseModelName = config.BaseModelName,
            TargetModules = [.. targets.Select(module => module.Path)],
            ReplacedModules =
            [
                .. _model.Modules
                    .Where(module => weights.Deltas[module.Index] is { } delta
                        && (delta.Replacement is not null
                            || delta.ReplacedRows is not null
                            || (delta.OutputBias is not null && !targets.Contains(module))))
                    .Select(module => module.Path),
            ],
            Ranks = [.. targets.Select(module => reader.RankOf(tensors.Of(module)))],
            ElementType = types.Count == 1 ? types[0].ToString() : "mixed",
            Parameters = file.Entries.Values.Sum(entry => entry.ElementCount),
            FileBytes = new FileInfo(file.FilePath).Length,
            HostBytes = weights.ByteCount,
            MatrixBytes = weights.Deltas.Sum(
                delta => (delta?.A?.ByteCount ?? 0) + (delta?.B?.ByteCount ?? 0) + (delta?.Replacement?.ByteCount ?? 0)),
            Extras = config.Extras,
        };
    }

    private sealed record Modules(IReadOnlyList<LowRankDelta?> Deltas, DeltaReader Reader, AdapterTensors Tensors, List<ModuleShape> Targets);
}
