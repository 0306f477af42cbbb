using System.Globalization;
using System.Text;

namespace Grpc.Wire;

/// <summary>The encoding of <c>grpc-message</c>: UTF-8, with all but printable ASCII, and the percent sign, as %XX.</summary>
internal static class PercentEncoding
{
    public static string Encode(string message)
    {
        if (!message.AsSpan().ContainsAnyExceptInRange(' ', '~') && !message.Contains('%'))
        {
            return message;
        }

        StringBuilder text = new();
        foreach (byte b in Encoding.UTF8.GetBytes(message))
        {
            if (b is >= (byte)' ' and <= (byte)'~' and not (byte)'%')
            {
                text.Append((char)b);
            }
            else
            {
                text.Append(CultureInfo.InvariantCulture, $"%{b:X2}");
            }
        }

        return text.ToString();
    }

    /// <summary>Undoes <see cref="Encode"/>; what is no %XX stays as it is, so that no message is lost.</summary>
    public static string Decode(string message) =>
        message.Contains('%') ? Uri.UnescapeDataString(message) : message;
}
