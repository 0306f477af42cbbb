namespace InferenceServer.Demo.Making;

/// <summary>Length of the trainings; the defaults make the committed demo.</summary>
/// <param name="Threads">Threads that compute; 0 for one a core.</param>
/// <param name="BaseSamples">Lines of the base's text.</param>
/// <param name="BaseSteps">Steps of the base's training, of 1024 tokens each.</param>
internal sealed record MakeSettings(int Threads = 0, int BaseSamples = 300_000, int BaseSteps = 8_000);
