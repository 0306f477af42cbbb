using System.Globalization;
using InferenceServer.Server.Hosting;
using Microsoft.Extensions.Options;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
try
{
    ServerCommandLine commandLine = ServerCommandLine.Parse(args, Environment.GetEnvironmentVariables());
    switch (commandLine.Mode)
    {
        case ServerMode.Help:
            await Console.Out.WriteAsync(ServerCommandLine.Help());
            return 0;
        case ServerMode.Version:
            await Console.Out.WriteLineAsync(ServerVersion.Text);
            return 0;
        case ServerMode.HealthCheck:
            return await HealthProbe.RunAsync(
                commandLine.Settings.GetValueOrDefault("Server:HttpUrl") ?? new ServerOptions().HttpUrl, Console.Error);
    }

    await using InferenceServerHost host = InferenceServerHost.Build(commandLine);
    return await host.RunAsync();
}
catch (Exception error) when (error is CommandLineException or OptionsValidationException or IOException)
{
    // IOException: a port that is taken.
    await Console.Error.WriteLineAsync($"error: {error.Message}");
    return 2;
}
catch (AggregateException error) when (error.InnerExceptions.All(inner => inner is OptionsValidationException))
{
    foreach (Exception inner in error.InnerExceptions)
    {
        await Console.Error.WriteLineAsync($"error: {inner.Message}");
    }

    return 2;
}
