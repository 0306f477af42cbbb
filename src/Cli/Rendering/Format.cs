using System.Globalization;
using Google.Protobuf.WellKnownTypes;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Rendering;

/// <summary>Values as people read them.</summary>
internal static class Format
{
    private static readonly string[] s_units = ["B", "KiB", "MiB", "GiB", "TiB"];

    public static string Bytes(long bytes)
    {
        double value = bytes;
        int unit = 0;
        while (value >= 1024 && unit < s_units.Length - 1)
        {
            value /= 1024;
            unit++;
        }

        return string.Create(CultureInfo.InvariantCulture, $"{value:0.#} {s_units[unit]}");
    }

    public static string Count(long count)
    {
        return count.ToString("N0", CultureInfo.InvariantCulture);
    }

    public static string Time(Timestamp? time)
    {
        return time?.ToDateTime().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture) ?? "never";
    }

    /// <summary>The first 12 digits, as Git shows its own.</summary>
    public static string Digest(string digest)
    {
        return digest.Length > 12 ? digest[..12] : digest;
    }

    public static string State(AdapterState state)
    {
        return state switch
        {
            AdapterState.Uploaded => "uploaded",
            AdapterState.Validated => "validated",
            AdapterState.Host => "host",
            AdapterState.Loading => "loading",
            AdapterState.Resident => "resident",
            AdapterState.Draining => "draining",
            AdapterState.Gone => "gone",
            _ => "unknown",
        };
    }
}
