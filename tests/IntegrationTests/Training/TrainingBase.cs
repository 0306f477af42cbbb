using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>A random Llama of a few thousand weights: its training steps take milliseconds.</summary>
public sealed class TrainingBase : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public TrainingBase() => Model.Write(Folder);

    public TinyLlama Model { get; } = new() { Layers = 2, HiddenSize = 32 };

    public string Folder => Path.Combine(_folder.Path, "tiny-base");

    public void Dispose() => _folder.Dispose();

    /// <summary>Starts a server of this base.</summary>
    internal Task<RunningServer> ServeAsync(params string[] options) => ServeOnAsync(data: null, options);

    /// <inheritdoc cref="ServeAsync"/>
    internal Task<RunningServer> ServeOnAsync(string? data, params string[] options) =>
        RunningServer.StartAsync(data, configure: null, ["--model", Folder, .. options]);
}
