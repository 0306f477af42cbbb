using InferenceServer.Client;

namespace InferenceServer.Cli.Comparison;

/// <summary>Which contenders a comparison has.</summary>
internal static class Contenders
{
    /// <summary>The methods that can be compared: all but a router, whose adapters have learnt the task before it.</summary>
    public static IEnumerable<TrainingMethod> Methods => TrainingMethods.All.Where(method => !method.RoutesAdapters);

    /// <summary>
    /// Each method at the common rank; LoRA and rsLoRA at every rank of the sweep with one alpha, which is how they differ; DoRA at the
    /// lowest rank too.
    /// </summary>
    /// <param name="methods">The methods, in the order of the table.</param>
    /// <param name="rank">The common rank.</param>
    /// <param name="ranks">The sweep.</param>
    public static IReadOnlyList<Contender> Create(IEnumerable<TrainingMethod> methods, int rank, IReadOnlyList<int> ranks)
    {
        List<Contender> contenders = [];
        int[] sweep = [.. ranks.Append(rank).Distinct().Order()];
        double alpha = 2.0 * rank;
        foreach (TrainingMethod method in methods)
        {
            switch (method.Name)
            {
                case "lora" or "rslora":
                    contenders.AddRange(sweep.Select(each => new Contender(method, each, alpha)));
                    break;
                case "dora":
                    contenders.AddRange(((int[])[sweep[0], rank]).Distinct().Select(each => new Contender(method, each, alpha)));
                    break;
                case "vera":
                    // Its rank costs next to nothing and is large by nature.
                    contenders.Add(new Contender(method, method.DefaultRank, 0));
                    break;
                default:
                    contenders.Add(method.DefaultRank > 0 ? new Contender(method, rank, alpha) : new Contender(method, 0, 0));
                    break;
            }
        }

        return contenders;
    }
}
