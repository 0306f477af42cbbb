namespace InferenceServer.Cli;

/// <summary>What the process returns.</summary>
public static class ExitCodes
{
    public const int Ok = 0;

    /// <summary>The server refused or failed the call, or could not be reached.</summary>
    public const int ServerError = 1;

    /// <summary>The command line, or a file that it names, is wrong.</summary>
    public const int Usage = 2;

    /// <summary>Ctrl-C: 128 + SIGINT, as shells count.</summary>
    public const int Cancelled = 130;
}
