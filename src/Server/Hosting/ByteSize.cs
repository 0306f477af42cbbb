using System.Globalization;

namespace InferenceServer.Server.Hosting;

/// <summary>Sizes as people write them: 4096, 512MiB, 2GiB, 1.5GB.</summary>
public static class ByteSize
{
    private static readonly (string Suffix, double Factor)[] s_units =
    [
        ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40),
        ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("B", 1),
    ];

    public static bool TryParse(string text, out long bytes)
    {
        double factor = 1;
        ReadOnlySpan<char> number = text.AsSpan().Trim();
        foreach ((string suffix, double unit) in s_units)
        {
            if (number.EndsWith(suffix, StringComparison.OrdinalIgnoreCase))
            {
                number = number[..^suffix.Length].TrimEnd();
                factor = unit;
                break;
            }
        }

        bool valid = double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value)
            && value * factor < long.MaxValue;
        bytes = valid ? (long)(value * factor) : 0;
        return valid;
    }

    public static string Format(long bytes)
    {
        (string suffix, long unit) = bytes switch
        {
            >= 1L << 30 => ("GiB", 1L << 30),
            >= 1L << 20 => ("MiB", 1L << 20),
            >= 1L << 10 => ("KiB", 1L << 10),
            _ => ("B", 1L),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{(double)bytes / unit:0.##} {suffix}");
    }
}
