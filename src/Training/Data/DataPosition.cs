namespace InferenceServer.Training.Data;

/// <summary>How far a <see cref="BatchSource"/> has come.</summary>
/// <param name="Epoch">Times that the whole set has been given out.</param>
/// <param name="Batch">Batches of this epoch that have been given out.</param>
public readonly record struct DataPosition(int Epoch, int Batch);
