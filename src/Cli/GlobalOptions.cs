using System.CommandLine;
using InferenceServer.Client;

namespace InferenceServer.Cli;

/// <summary>The options of every command.</summary>
internal sealed class GlobalOptions
{
    public const string AddressVariable = "INFERENCESERVER_ADDRESS";

    public Option<Uri?> Server { get; } = new("--server")
    {
        Description = $"Address of the server (environment {AddressVariable}; default {InferenceClientOptions.DefaultAddress}).",
        HelpName = "url",
        Recursive = true,
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (TryParseAddress(text, out Uri? address))
            {
                return address;
            }

            result.AddError($"--server '{text}' is not an http:// or https:// address");
            return null;
        },
    };

    public Option<bool> Json { get; } = new("--json")
    {
        Description = "Print JSON (a stream prints one object a line).",
        Recursive = true,
    };

    public Option<double?> Timeout { get; } = new("--timeout")
    {
        Description = "Give up after so many seconds.",
        HelpName = "seconds",
        Recursive = true,
        Validators =
        {
            result =>
            {
                if (result.GetValueOrDefault<double?>() is { } seconds && !(seconds is > 0 and <= 86_400))
                {
                    result.AddError($"--timeout {seconds} is not in (0, 86400]");
                }
            },
        },
    };

    /// <summary>The address to use: the option, else the environment, else the default.</summary>
    /// <exception cref="UsageException">The environment names no address.</exception>
    public Uri Address(ParseResult parsed)
    {
        if (parsed.GetValue(Server) is { } given)
        {
            return given;
        }

        string? named = Environment.GetEnvironmentVariable(AddressVariable);
        if (string.IsNullOrEmpty(named))
        {
            return new Uri(InferenceClientOptions.DefaultAddress);
        }

        return TryParseAddress(named, out Uri? address)
            ? address
            : throw new UsageException($"{AddressVariable} '{named}' is not an http:// or https:// address");
    }

    private static bool TryParseAddress(string text, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Uri? address)
    {
        return Uri.TryCreate(text, UriKind.Absolute, out address)
            && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps);
    }
}
