namespace InferenceServer.Tensors.Packed;

/// <summary>What the header of a packed file says of one matrix.</summary>
/// <param name="Label">The matrix.</param>
/// <param name="Rows">Its rows.</param>
/// <param name="Columns">Its columns.</param>
/// <param name="Format">How its weights are kept.</param>
/// <param name="Offset">First byte in the file.</param>
/// <param name="ByteCount">Bytes.</param>
/// <param name="Checksums">One for each piece of <see cref="PackedSection.PieceBytes"/>.</param>
internal sealed record PackedSectionHeader(
    string Label, int Rows, int Columns, WeightFormat Format, long Offset, long ByteCount, uint[] Checksums);
