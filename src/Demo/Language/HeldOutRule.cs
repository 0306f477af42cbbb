namespace InferenceServer.Demo.Language;

/// <summary>
/// Which questions are kept from all training. Of numbers, one pair in ten, in either order, in every wording and style; of facts, one
/// wording of each.
/// </summary>
public static class HeldOutRule
{
    private const int Share = 10;

    /// <summary>For questions about two numbers: the order of the numbers does not matter.</summary>
    public static bool HoldsOut(string relation, int first, int second)
    {
        return Hash(FormattableString.Invariant($"{relation} {Math.Min(first, second)} {Math.Max(first, second)}")) % Share == 0;
    }

    /// <summary>The one wording of <paramref name="wordings"/> in which a fact is held out.</summary>
    public static int HeldOutWording(string fact, int wordings) => (int)(Hash(fact) % (uint)wordings);

    // FNV-1a with a last mix, so that neighbouring numbers do not fall alike: the same on every machine, unlike string.GetHashCode.
    private static uint Hash(string text)
    {
        uint hash = 2166136261;
        foreach (char letter in text)
        {
            hash = (hash ^ letter) * 16777619;
        }

        hash = (hash ^ (hash >> 16)) * 0x7feb352d;
        return hash ^ (hash >> 15);
    }
}
