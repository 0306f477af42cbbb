namespace InferenceServer.Tensors;

/// <summary>Where a linear module's outputs lie among the columns of a matrix that several modules share.</summary>
/// <param name="Module">Module index.</param>
/// <param name="FirstColumn">First column of it.</param>
/// <param name="ColumnCount">Its outputs.</param>
public readonly record struct ModuleColumns(int Module, int FirstColumn, int ColumnCount);
