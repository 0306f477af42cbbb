namespace InferenceServer.Cpu.Emitted;

/// <summary>Products of tiles; a seam, so that tests can run the code where there are no tiles.</summary>
internal unsafe interface ITileKernels
{
    /// <summary>Shapes the tiles of this thread for bf16.</summary>
    void Begin();

    /// <summary>Shapes the tiles of this thread for integers.</summary>
    void BeginIntegers();

    /// <summary>Frees them.</summary>
    void End();

    /// <summary>16 rows times two panels of 32 columns.</summary>
    void Narrow(DotArguments* arguments);

    /// <summary>One row, of f32, times two panels of 32 columns; needs no shapes.</summary>
    void Row(DotArguments* arguments);

    /// <summary>32 rows times a panel of 32 columns.</summary>
    void Square(DotArguments* arguments);

    /// <summary>The same, asking for weights ahead.</summary>
    void SquareAhead(DotArguments* arguments);

    /// <summary>Sums of 16 rows times 32 columns of int8, group by group.</summary>
    void Int8(DotArguments* arguments);

    /// <summary>Sums of 16 rows times 32 columns of NF4, group by group.</summary>
    void NF4(DotArguments* arguments);
}
