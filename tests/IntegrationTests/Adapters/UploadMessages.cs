using System.Security.Cryptography;
using Google.Protobuf;
using InferenceServer.Protocol.V1;

namespace InferenceServer.IntegrationTests.Adapters;

/// <summary>Uploads message by message, for tests that send them wrongly.</summary>
internal static class UploadMessages
{
    public const string ConfigFile = "adapter_config.json";
    public const string WeightFile = "adapter_model.safetensors";

    public static UploadRequest Header(string name) => new() { Header = new UploadHeader { Name = name } };

    public static UploadRequest Start(string file, byte[] content, string? hash = null) => new()
    {
        File = new FileStart
        {
            Name = file,
            SizeBytes = content.Length,
            Sha256 = hash ?? Convert.ToHexStringLower(SHA256.HashData(content)),
        },
    };

    public static UploadRequest Data(byte[] content) => new() { Data = ByteString.CopyFrom(content) };

    public static byte[] Content(string folder, string file) => File.ReadAllBytes(Path.Combine(folder, file));

    /// <summary>A whole upload: header, and each file as its start and two pieces.</summary>
    public static List<UploadRequest> Whole(string name, string folder)
    {
        List<UploadRequest> messages = [Header(name)];
        foreach (string file in (string[])[ConfigFile, WeightFile])
        {
            byte[] content = Content(folder, file);
            messages.AddRange([Start(file, content), Data(content[..100]), Data(content[100..])]);
        }

        return messages;
    }
}
