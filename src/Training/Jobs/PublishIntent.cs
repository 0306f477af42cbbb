namespace InferenceServer.Training.Jobs;

/// <summary>Written before an adapter is published, so that a crash at any moment publishes it once.</summary>
/// <param name="Adapter">name@digest.</param>
/// <param name="WasThere">Whether that version was in the catalog before; then its being there says nothing.</param>
public sealed record PublishIntent(string Adapter, bool WasThere);
