using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Training.Checkpoints;

/// <summary>
/// The two files of a checkpoint: <c>state.safetensors</c> with counters and progress in its metadata, and its SHA-256, by which a damaged
/// one is known.
/// </summary>
internal static class CheckpointFile
{
    public const string StateName = "state.safetensors";
    public const string DigestName = "state.sha256";

    private const string StepKey = "step";
    private const string ForwardKey = "forwards";
    private const string ProgressKey = "progress";
    private const string ConditionsKey = "conditions";

    /// <summary>Writes both files, durably, into a new folder.</summary>
    public static void Write(
        StoreFiles files, string folder, TrainerState state, RunProgress progress, IReadOnlyDictionary<string, string> conditions)
    {
        Dictionary<string, string> metadata = new(StringComparer.Ordinal)
        {
            [StepKey] = state.StepCount.ToString(CultureInfo.InvariantCulture),
            [ForwardKey] = state.ForwardCount.ToString(CultureInfo.InvariantCulture),
            [ProgressKey] = JsonSerializer.Serialize(progress),
            [ConditionsKey] = JsonSerializer.Serialize(conditions),
        };
        List<SafetensorsWriter.Tensor> tensors =
            [.. state.Tensors.Select(tensor => SafetensorsWriter.FromSingles(tensor.Key, [tensor.Value.Length], tensor.Value))];
        string digest;
        using (FileStream file = files.CreateFile(Path.Combine(folder, StateName)))
        using (HashingStream stream = new(files, file))
        {
            SafetensorsWriter.Write(stream, tensors, metadata);
            digest = stream.Digest();
            files.Sync(file);
        }

        files.WriteFile(Path.Combine(folder, DigestName), Encoding.ASCII.GetBytes(digest));
        files.SyncDirectory(folder);
    }

    /// <exception cref="InvalidDataException">It is damaged.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static (TrainerState State, RunProgress Progress, IReadOnlyDictionary<string, string> Conditions) Read(string folder)
    {
        string path = Path.Combine(folder, StateName);
        using (FileStream file = File.OpenRead(path))
        {
            string expected = File.ReadAllText(Path.Combine(folder, DigestName));
            string found = Convert.ToHexStringLower(SHA256.HashData(file));
            if (found != expected)
            {
                throw new InvalidDataException($"{StateName} has the SHA-256 {found}, written with {expected}");
            }
        }

        using SafetensorsFile tensors = SafetensorsFile.Open(path);
        IReadOnlyDictionary<string, string> metadata = tensors.Header.Metadata;
        TrainerState state = new()
        {
            StepCount = int.Parse(metadata[StepKey], CultureInfo.InvariantCulture),
            ForwardCount = ulong.Parse(metadata[ForwardKey], CultureInfo.InvariantCulture),
        };
        foreach ((string name, SafetensorsEntry entry) in tensors.Entries)
        {
            state.Tensors.Add(name, tensors.ReadSingles(entry));
        }

        return (
            state,
            JsonSerializer.Deserialize<RunProgress>(metadata[ProgressKey])!,
            JsonSerializer.Deserialize<Dictionary<string, string>>(metadata[ConditionsKey])!);
    }
}
