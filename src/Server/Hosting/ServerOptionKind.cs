namespace InferenceServer.Server.Hosting;

/// <summary>What the value of a <see cref="ServerOption"/> has to be.</summary>
internal enum ServerOptionKind
{
    Text,

    /// <summary>A whole number, not negative.</summary>
    Count,

    /// <summary>A size such as 2GiB.</summary>
    Size,

    /// <summary>One of the words that the option's value lists.</summary>
    Choice,
}
