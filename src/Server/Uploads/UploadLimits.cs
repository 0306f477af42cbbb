namespace InferenceServer.Server.Uploads;

/// <summary>What an upload may cost before anything of it is believed.</summary>
/// <param name="MaxConfigBytes">Largest adapter_config.json.</param>
/// <param name="MaxWeightBytes">Largest adapter_model.safetensors.</param>
/// <param name="IdleTimeout">Longest pause between two messages of an upload.</param>
public sealed record UploadLimits(long MaxConfigBytes, long MaxWeightBytes, TimeSpan IdleTimeout);
