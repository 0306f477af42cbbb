using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>A small JSON file that carries the SHA-256 of its contents, so that damage is seen and not believed.</summary>
internal static class SealedJson
{
    private const long MaxBytes = 64 << 20;

    private static readonly JsonSerializerOptions s_options = new()
    {
        Converters = { new JsonStringEnumConverter() },
        RespectNullableAnnotations = true,
    };

    public static byte[] Write<T>(T value)
    {
        string contents = JsonSerializer.Serialize(value, s_options);
        return Encoding.UTF8.GetBytes($"{{\"sha256\":\"{Hash(contents)}\",\"contents\":{contents}}}\n");
    }

    /// <summary>Reads a file back.</summary>
    /// <exception cref="InvalidDataException">It is damaged.</exception>
    public static T Read<T>(string path)
    {
        try
        {
            if (new FileInfo(path).Length > MaxBytes)
            {
                throw new InvalidDataException($"{Path.GetFileName(path)} is larger than {MaxBytes} bytes");
            }

            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            JsonElement contents = document.RootElement.GetProperty("contents");
            return document.RootElement.GetProperty("sha256").ValueEquals(Hash(contents.GetRawText()))
                ? contents.Deserialize<T>(s_options) ?? throw new InvalidDataException($"{Path.GetFileName(path)} is empty")
                : throw new InvalidDataException($"{Path.GetFileName(path)} does not match its checksum");
        }
        catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException or FileNotFoundException)
        {
            throw new InvalidDataException($"{Path.GetFileName(path)} is damaged: {error.Message}", error);
        }
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
