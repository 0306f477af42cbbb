namespace InferenceServer.Cuda.Steps;

/// <summary>
/// How many rows a kernel works on. In a step that may become a graph the number lies in device memory and the grid is that of the next
/// larger bucket, so that one graph serves all batches up to it; kernels read <c>rows_pointer ? *rows_pointer : rows</c> and leave the rest.
/// </summary>
/// <param name="Pointer">Address of the number, or 0 when <paramref name="Rows"/> is it.</param>
/// <param name="Rows">Rows the grid must cover.</param>
internal readonly record struct RowCount(ulong Pointer, int Rows);
