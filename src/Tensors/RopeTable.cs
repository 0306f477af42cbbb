namespace InferenceServer.Tensors;

/// <summary>Cosines and sines of rotary embeddings for every position, made once from the model's config.</summary>
/// <param name="Cos">f32 <c>[MaxPositions, RotarySize / 2]</c>.</param>
/// <param name="Sin">f32 <c>[MaxPositions, RotarySize / 2]</c>.</param>
/// <param name="RotarySize">Elements of each head that rotate (the first ones); pairs are (i, i + RotarySize / 2).</param>
/// <param name="MaxPositions">Positions in the table.</param>
public sealed record RopeTable(DeviceBuffer Cos, DeviceBuffer Sin, int RotarySize, int MaxPositions);
