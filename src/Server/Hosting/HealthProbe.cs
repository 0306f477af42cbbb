namespace InferenceServer.Server.Hosting;

/// <summary>The server's --health-check: asks a running server, for containers that have no curl.</summary>
internal static class HealthProbe
{
    private const string Loopback = "127.0.0.1";

    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(3);

    /// <summary>0 when the server at <paramref name="httpUrl"/> is ready, else 1 with the reason on standard error.</summary>
    public static async Task<int> RunAsync(string httpUrl, TextWriter errors)
    {
        if (httpUrl == ServerOptions.None)
        {
            await errors.WriteLineAsync("--health-check needs the server's --http address, and it is none");
            return 1;
        }

        // A server that listens on every address answers on the loopback.
        string named = httpUrl.Replace("*", Loopback, StringComparison.Ordinal).Replace("+", Loopback, StringComparison.Ordinal);
        UriBuilder ready = new(named)
        {
            Path = "/health/ready",
        };
        if (ready.Host is "0.0.0.0" or "[::]")
        {
            ready.Host = Loopback;
        }

        try
        {
            using HttpClient http = new() { Timeout = s_timeout };
            using HttpResponseMessage response = await http.GetAsync(ready.Uri);
            if (response.IsSuccessStatusCode)
            {
                return 0;
            }

            await errors.WriteLineAsync($"{ready.Uri}: {(int)response.StatusCode}");
        }
        catch (Exception error) when (error is HttpRequestException or TaskCanceledException)
        {
            await errors.WriteLineAsync($"{ready.Uri}: {error.Message}");
        }

        return 1;
    }
}
