namespace InferenceServer.Training.Tape;

/// <summary>A place on a <see cref="GradientTape"/>.</summary>
/// <param name="Steps">Steps recorded before it.</param>
/// <param name="Memory">Where the memory taken after it begins.</param>
internal readonly record struct TapeMark(int Steps, (int Chunk, long Offset, long Used) Memory);
