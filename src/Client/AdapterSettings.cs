namespace InferenceServer.Client;

/// <summary>The size of an adapter and where it is; what is not set takes the method's default.</summary>
public sealed record AdapterSettings
{
    /// <summary>Rank of each pair, of AdaLoRA the mean rank that is left at the end; 0 for the method's default.</summary>
    public int Rank { get; init; }

    /// <summary>Numerator of the scale; 0 for twice the rank.</summary>
    public double Alpha { get; init; }

    /// <summary>Names of modules, or one regular expression, or "all-linear"; empty for the method's default.</summary>
    public IReadOnlyList<string> Targets { get; init; } = [];

    /// <summary>Share of an adapter's input that is dropped while training.</summary>
    public double Dropout { get; init; }
}
