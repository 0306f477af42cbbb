using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using InferenceServer.Models.Checkpoints;
using InferenceServer.Tensors;

namespace InferenceServer.Models.PackedWeights;

/// <summary>
/// Names everything that packed weights depend on: a SHA-256 over the backend's layout, the weight formats, config.json and the identity of
/// the checkpoint's files.
/// </summary>
/// <remarks>
/// The checkpoint is identified by names, lengths, times of change, headers and 64 samples of each file, not by all its bytes: reading
/// those would take the time that the cache is to save. Another checkpoint differs in nearly every sample. What goes unnoticed is a file
/// that was changed in place, between the samples, and whose time was then set back by hand.
/// </remarks>
internal static class PackedKey
{
    public static string Create(IPackedWeightBackend backend, Checkpoint checkpoint, WeightFormat format, WeightFormat head, ReadOnlySpan<byte> config)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"{backend.PackedLayout}\n{format}\n{head}\n{config.Length}\n")));
        hash.AppendData(config);
        checkpoint.AppendIdentity(hash);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
