namespace InferenceServer.Cuda.Steps;

/// <summary>Where a batch's <see cref="LoraTable"/> lies on the device.</summary>
/// <param name="Rows">Two integers a row: its first entry, and how many, with <see cref="LoraTable.TileFlag"/> where a tile holds the row.</param>
/// <param name="Entries">Entries of 16 bytes: address of the adapter's records, how many, weight.</param>
/// <param name="Tiles">Four integers a tile: first row, rows, first entry, entries.</param>
/// <param name="TileCount">Tiles.</param>
/// <param name="LooseRows">Rows with an adapter that no tile holds.</param>
internal readonly record struct LoraAddresses(ulong Rows, ulong Entries, ulong Tiles, int TileCount, int LooseRows);
