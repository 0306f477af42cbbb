namespace InferenceServer.Cpu.Emitted;

/// <summary>What a call of <see cref="IntegerDotKernels"/> takes of the weights.</summary>
internal enum IntegerShape
{
    /// <summary>Two panels, two streams of memory.</summary>
    TwoPanels,

    /// <summary>One panel.</summary>
    Panel,

    /// <summary>One panel with scales as <see cref="ScaleMantissas.Multiply"/> makes them; NF4 only.</summary>
    ScaledPanel,
}
