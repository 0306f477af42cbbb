namespace InferenceServer.Models.ChatTemplates;

/// <summary>What one rendering may use, so that no template and no message can hang the server or exhaust its memory.</summary>
public sealed record ChatTemplateLimits
{
    /// <summary>The limits of every template that is given none.</summary>
    public static ChatTemplateLimits Default { get; } = new();

    /// <summary>Characters of template text. The longest template seen in the wild has 13 000.</summary>
    public int MaxSourceChars { get; init; } = 1 << 20;

    /// <summary>Evaluated nodes, loop turns and visited items. A long conversation takes some hundred per message.</summary>
    public long MaxSteps { get; init; } = 10_000_000;

    /// <summary>Memory of all texts, lists and dictionaries built on the way, the output included, whether still in use or not.</summary>
    public long MaxAllocatedBytes { get; init; } = 256L << 20;

    /// <summary>Characters of the rendered prompt.</summary>
    public int MaxOutputChars { get; init; } = 16 << 20;

    /// <summary>Macros calling macros.</summary>
    public int MaxMacroDepth { get; init; } = 100;

    /// <summary>Lists within lists, of the input and of what the template builds from it.</summary>
    public int MaxValueDepth { get; init; } = 200;
}
