using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Steps;

/// <summary>A piece of one group of a <see cref="LoraBatch"/>.</summary>
/// <param name="Group">Index of the group.</param>
/// <param name="FirstRow">First row of the piece.</param>
/// <param name="RowCount">Rows.</param>
internal readonly record struct GroupPiece(int Group, int FirstRow, int RowCount);

/// <summary>The groups of a batch cut into pieces of a few rows, the work items of the adapter operations; kept from call to call.</summary>
internal sealed class GroupRows
{
    /// <summary>Rows of a piece: they share the reading of A and B, and their x stays in the cache.</summary>
    public const int RowsPerPiece = 32;

    private GroupPiece[] _pieces = new GroupPiece[16];

    public int Count { get; private set; }

    public GroupPiece this[int index] => _pieces[index];

    public void Fill(LoraBatch batch)
    {
        Count = 0;
        ReadOnlySpan<LoraGroup> groups = batch.Groups;
        for (int group = 0; group < groups.Length; group++)
        {
            for (int row = 0; row < groups[group].RowCount; row += RowsPerPiece)
            {
                if (Count == _pieces.Length)
                {
                    Array.Resize(ref _pieces, _pieces.Length * 2);
                }

                int rows = Math.Min(RowsPerPiece, groups[group].RowCount - row);
                _pieces[Count++] = new GroupPiece(group, groups[group].FirstRow + row, rows);
            }
        }
    }
}
