using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>Installs and builds llama.cpp and writes what both sides load; by setup/setup.sh, which says what is missing.</summary>
internal static class PeersSetup
{
    /// <summary>Adapters that setup writes for a shape and rank.</summary>
    private const int Adapters = 16;

    public static string Programs(PeersOptions options) => Path.Combine(options.Work, "llamacpp", "bin");

    /// <exception cref="IOException">It failed; what failed is on the error stream.</exception>
    public static void Run(PeersOptions options)
    {
        string script = Path.Combine(AppContext.BaseDirectory, "Peers", "setup", "setup.sh");
        string adapterShapes = options.What.Any(PeerWork.Tenants.Contains) ? string.Join(' ', options.Shapes) : "";
        string[] arguments =
        [
            script, options.Work, string.Join(' ', options.Shapes), adapterShapes, options.Rank.ToString(CultureInfo.InvariantCulture),
            Adapters.ToString(CultureInfo.InvariantCulture),
        ];
        using Process process = Process.Start("bash", arguments);
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new IOException($"{script} ended with {process.ExitCode}; its message is above");
        }
    }

    /// <exception cref="FileNotFoundException">Something is not there yet.</exception>
    public static void Check(PeersOptions options)
    {
        List<string> needed = [Path.Combine(Programs(options), "llama-bench"), Path.Combine(Programs(options), "llama-batched-bench")];
        bool tenants = options.What.Any(PeerWork.Tenants.Contains);
        if (tenants)
        {
            needed.Add(Path.Combine(Programs(options), "llama-server"));
        }

        foreach (string shape in options.Shapes)
        {
            needed.Add(Path.Combine(options.HfFolder(shape), "model.safetensors"));
            needed.AddRange(options.Weights.Select(weights => options.Gguf(shape, weights)));
            if (tenants)
            {
                needed.Add(options.Adapter(shape, Adapters - 1) + ".gguf");
            }
        }

        if (needed.FirstOrDefault(file => !File.Exists(file)) is { } missing)
        {
            throw new FileNotFoundException($"{missing} is not there; --setup makes it (--work is {options.Work})");
        }
    }

    public static string Version(PeersOptions options)
    {
        string package = Path.Combine(options.Work, "llamacpp", "node_modules", "node-llama-cpp");
        string version = (string?)JsonNode.Parse(File.ReadAllText(Path.Combine(package, "package.json")))?["version"] ?? "?";
        string release = (string?)JsonNode.Parse(File.ReadAllText(Path.Combine(package, "llama", "binariesGithubRelease.json")))?["release"] ?? "?";
        return $"llama.cpp {release} of node-llama-cpp {version}";
    }
}
