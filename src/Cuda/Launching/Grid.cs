namespace InferenceServer.Cuda.Launching;

/// <summary>Blocks of a launch.</summary>
internal readonly record struct Grid(int X, int Y = 1, int Z = 1)
{
    /// <summary>Whether there is nothing to do; the driver refuses such launches.</summary>
    public bool IsEmpty => X == 0 || Y == 0 || Z == 0;

    /// <summary>Pieces of a size that cover a length.</summary>
    public static int Cover(long length, int size) => checked((int)((length + size - 1) / size));
}
