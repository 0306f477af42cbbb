namespace InferenceServer.Models.Transformer;

/// <summary>How far a model's loading is.</summary>
/// <param name="LoadedBytes">Bytes of weights on the device so far.</param>
/// <param name="Modules">Modules done.</param>
/// <param name="TotalModules">Modules in all.</param>
public readonly record struct LoadProgress(long LoadedBytes, int Modules, int TotalModules);
