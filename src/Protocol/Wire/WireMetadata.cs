using Grpc.Core;

namespace Grpc.Wire;

/// <summary>Metadata as HTTP headers.</summary>
internal static class WireMetadata
{
    /// <summary>Adds one HTTP header to the metadata, unless it belongs to the protocol.</summary>
    /// <exception cref="RpcException">INTERNAL: the header is binary and no base64.</exception>
    public static void AddTo(Metadata metadata, string name, string? value)
    {
        if (value is null || IsReserved(name))
        {
            return;
        }

        if (!name.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.OrdinalIgnoreCase))
        {
            metadata.Add(Metadata.Entry.Received(name, value));
            return;
        }

        // Several binary values of one key may come joined by commas, each with or without padding.
        foreach (string part in value.Split(','))
        {
            string base64 = part.Trim().TrimEnd('=');
            byte[] bytes = new byte[base64.Length];
            if (!Convert.TryFromBase64String(base64.PadRight((base64.Length + 3) / 4 * 4, '='), bytes, out int length))
            {
                throw new RpcException(new Status(StatusCode.Internal, $"the metadata '{name}' is not valid base64"));
            }

            metadata.Add(Metadata.Entry.Received(name, bytes[..length]));
        }
    }

    public static string HeaderValue(Metadata.Entry entry) =>
        entry.IsBinary ? Convert.ToBase64String(entry.ValueBytes).TrimEnd('=') : entry.Value;

    private static bool IsReserved(string name) =>
        name.StartsWith(':')
        || (name.StartsWith("grpc-", StringComparison.OrdinalIgnoreCase)
            && !name.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.OrdinalIgnoreCase))
        || name.Equals("content-type", StringComparison.OrdinalIgnoreCase)
        || name.Equals("te", StringComparison.OrdinalIgnoreCase);
}
