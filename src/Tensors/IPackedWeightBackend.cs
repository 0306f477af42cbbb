using InferenceServer.Tensors.Packed;

namespace InferenceServer.Tensors;

/// <summary>
/// What a backend can do beside <see cref="IComputeBackend"/> when its packed matrices may be kept on disk, so that a later start need not
/// pack them again. All may be called beside a running step.
/// </summary>
public interface IPackedWeightBackend
{
    /// <summary>
    /// Names the layout of packed matrices, machine and version: bytes that were written under one name are read under the same name only.
    /// </summary>
    string PackedLayout { get; }

    /// <summary>Copies a part of a matrix's packed form.</summary>
    /// <param name="matrix">A matrix of this backend.</param>
    /// <param name="offset">First byte, below <see cref="WeightMatrix.ByteCount"/>.</param>
    /// <param name="destination">Receives the bytes; they end within the matrix.</param>
    void ReadPacked(WeightMatrix matrix, long offset, Span<byte> destination);

    /// <summary>Called once for a file, before its matrices are made; a backend that can use them in place maps it.</summary>
    /// <exception cref="PackedFileException">The file is broken.</exception>
    void Prepare(PackedFile file);

    /// <summary>Makes the matrix that a section was written from, bit for bit. It may be disposed of after the file.</summary>
    /// <exception cref="PackedFileException">The section is broken or has another size than this backend gives such a matrix.</exception>
    /// <exception cref="IOException">The disk cannot be read.</exception>
    WeightMatrix CreateMatrix(PackedFile file, PackedSection section);
}
