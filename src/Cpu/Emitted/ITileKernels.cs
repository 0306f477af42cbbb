namespace InferenceServer.Cpu.Emitted;

/// <summary>Products of tiles; a seam, so that tests can run the code where there are no tiles.</summary>
internal unsafe interface ITileKernels
{
    /// <summary>Shapes the tiles of this thread.</summary>
    void Begin();

    /// <summary>Frees them.</summary>
    void End();

    /// <summary>16 rows times two panels of 32 columns.</summary>
    void Narrow(DotArguments* arguments);

    /// <summary>32 rows times a panel of 32 columns.</summary>
    void Square(DotArguments* arguments);
}
