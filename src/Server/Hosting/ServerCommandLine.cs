using System.Collections;
using System.Text;

namespace InferenceServer.Server.Hosting;

/// <summary>Reads the command line and the environment into configuration. What it does not know is an error, not a guess.</summary>
public sealed class ServerCommandLine
{
    private ServerCommandLine(ServerMode mode, IReadOnlyDictionary<string, string?> settings)
    {
        Mode = mode;
        Settings = settings;
    }

    /// <summary>What the process was asked to do.</summary>
    public ServerMode Mode { get; }

    /// <summary>Configuration keys and values.</summary>
    public IReadOnlyDictionary<string, string?> Settings { get; }

    /// <param name="arguments">The command line: <c>--name value</c>, <c>--name=value</c>, or <c>--no-name</c> for false.</param>
    /// <param name="environment">The environment's variables; the command line wins over them.</param>
    /// <exception cref="CommandLineException">An unknown option, a missing or malformed value.</exception>
    public static ServerCommandLine Parse(IReadOnlyList<string> arguments, IDictionary environment)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        ArgumentNullException.ThrowIfNull(environment);
        Dictionary<string, string?> settings = [];
        foreach (ServerOption option in ServerOptionTable.All)
        {
            if (environment[option.Variable] is string { Length: > 0 } value)
            {
                settings[option.Key] = option.Convert(value, option.Variable);
            }
        }

        ServerMode mode = ServerMode.Serve;
        for (int i = 0; i < arguments.Count; i++)
        {
            string argument = arguments[i];
            ServerMode? asked = argument switch
            {
                "--help" or "-h" or "-?" => ServerMode.Help,
                "--version" => ServerMode.Version,
                "--health-check" => ServerMode.HealthCheck,
                _ => null,
            };
            if (asked is { } other)
            {
                mode = other;
                continue;
            }

            if (FindSwitch(argument) is { } turnedOff)
            {
                settings[turnedOff.Key] = "false";
                continue;
            }

            int equals = argument.IndexOf('=', StringComparison.Ordinal);
            string name = equals < 0 ? argument : argument[..equals];
            ServerOption option = Find(name);
            string value;
            if (equals >= 0)
            {
                value = argument[(equals + 1)..];
            }
            else if (++i < arguments.Count)
            {
                value = arguments[i];
            }
            else
            {
                throw new CommandLineException($"{name} needs a value: {option.Value}");
            }

            settings[option.Key] = option.Convert(value, name);
        }

        return new ServerCommandLine(mode, settings);
    }

    /// <summary>What --help prints.</summary>
    public static string Help()
    {
        StringBuilder help = new();
        help.AppendLine("Serves one language model with many LoRA adapters over gRPC.");
        help.AppendLine();
        help.AppendLine("Usage: InferenceServer.Server [options]");
        help.AppendLine();
        foreach (ServerOption option in ServerOptionTable.All)
        {
            help.AppendLine($"  {$"--{option.Name} {option.Value}",-36} {option.Description}");
        }

        help.AppendLine($"  {"--health-check",-36} Ask a running server's /health/ready and exit 0 or 1 (for containers).");
        help.AppendLine($"  {"--version",-36} Print the version.");
        help.AppendLine($"  {"--help",-36} Print this.");
        help.AppendLine();
        help.AppendLine("--no-NAME turns an option off that is true or false (--no-graphs).");
        help.AppendLine($"Each option is also an environment variable (--max-queue: {ServerOption.EnvironmentPrefix}MAX_QUEUE)");
        help.AppendLine("and a key of appsettings.json (--max-queue: Scheduler:MaxWaiting).");
        help.AppendLine("The command line wins, then the environment, then the file.");
        return help.ToString();
    }

    // --no-NAME for an option that is true or false.
    private static ServerOption? FindSwitch(string argument) => argument.StartsWith("--no-", StringComparison.Ordinal)
        ? ServerOptionTable.All.FirstOrDefault(option => option.Value == "true|false" && argument.AsSpan(5).SequenceEqual(option.Name))
        : null;

    private static ServerOption Find(string name)
    {
        foreach (ServerOption option in ServerOptionTable.All)
        {
            if (name.Length == option.Name.Length + 2 && name.StartsWith("--", StringComparison.Ordinal)
                && name.EndsWith(option.Name, StringComparison.Ordinal))
            {
                return option;
            }
        }

        throw new CommandLineException($"unknown option '{name}'; --help lists them");
    }
}
