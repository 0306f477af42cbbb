using System.Globalization;

namespace InferenceServer.Server.Hosting;

/// <summary>One option of the command line and of the environment, and the configuration key that it sets.</summary>
/// <param name="Name">As on the command line, without the dashes: <c>max-queue</c>.</param>
/// <param name="Key">Configuration key, also for appsettings.json: <c>Scheduler:MaxWaiting</c>.</param>
/// <param name="Value">What the value looks like, for --help.</param>
/// <param name="Description">One line for --help, default included.</param>
/// <param name="Kind">What the value has to be.</param>
internal sealed record ServerOption(
    string Name, string Key, string Value, string Description, ServerOptionKind Kind = ServerOptionKind.Text)
{
    public const string EnvironmentPrefix = "INFERENCESERVER_";

    /// <summary>The environment variable that sets it: <c>INFERENCESERVER_MAX_QUEUE</c>.</summary>
    public string Variable => EnvironmentPrefix + Name.Replace('-', '_').ToUpperInvariant();

    /// <summary>The value as configuration takes it.</summary>
    /// <param name="value">As it was written.</param>
    /// <param name="source">The option or variable that holds it, for the error.</param>
    /// <exception cref="CommandLineException">It is not of this kind.</exception>
    public string Convert(string value, string source)
    {
        switch (Kind)
        {
            case ServerOptionKind.Size:
                return ByteSize.TryParse(value, out long bytes)
                    ? bytes.ToString(CultureInfo.InvariantCulture)
                    : throw new CommandLineException($"{source} '{value}' is not a size such as 536870912, 512MiB or 2GiB");
            case ServerOptionKind.Count:
                return int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out _)
                    ? value
                    : throw new CommandLineException($"{source} '{value}' is not a whole number");
            case ServerOptionKind.Choice:
                return Value.Split('|').Contains(value, StringComparer.OrdinalIgnoreCase)
                    ? value
                    : throw new CommandLineException(
                        $"{source} '{value}' is not one of {Value.Replace("|", ", ", StringComparison.Ordinal)}");
            default:
                return value;
        }
    }
}
