namespace InferenceServer.Training.Methods;

/// <summary>LoRA-drop's choice among modules that can share.</summary>
internal static class LoraDropSelection
{
    /// <summary>The smallest set of modules whose importance reaches the threshold's share of the sum; of equals the first.</summary>
    /// <param name="importance">Of each module, from 0.</param>
    /// <param name="threshold">T, above 0 and at most 1.</param>
    public static bool[] Kept(IReadOnlyList<double> importance, double threshold)
    {
        double wanted = threshold * importance.Sum();
        double reached = 0;
        bool[] kept = new bool[importance.Count];
        foreach (int module in Enumerable.Range(0, importance.Count).OrderByDescending(i => importance[i]))
        {
            if (reached >= wanted)
            {
                break;
            }

            kept[module] = true;
            reached += importance[module];
        }

        return kept;
    }
}
