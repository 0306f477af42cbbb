namespace InferenceServer.Server.Embedded;

/// <summary>
/// What is served when no model is named: the demo of samples/demo, a base of 3 million parameters that answers small questions, with
/// tenants that answer in different ways. It lies beside the program; src/Demo makes it.
/// </summary>
public static class DemoModel
{
    private static readonly string s_folder = Path.Combine(AppContext.BaseDirectory, "demo");

    /// <summary>The base in Hugging Face's layout.</summary>
    public static string BaseFolder { get; } = Path.Combine(s_folder, "demo-base");

    /// <summary>The tenants' adapters in PEFT's layout, a folder each, named as the tenant.</summary>
    public static IReadOnlyList<string> AdapterFolders() =>
        [.. Directory.GetDirectories(Path.Combine(s_folder, "adapters")).Order(StringComparer.Ordinal)];
}
