using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;

namespace InferenceServer.Training;

/// <summary>AdaLoRA's budget over the steps (arXiv 2303.10512, section 3.3), with PEFT's names and defaults.</summary>
/// <param name="InitialRank">Components of each module at the start (init_r).</param>
/// <param name="TargetRank">Mean components of a module at the end (target_r).</param>
/// <param name="WarmUpSteps">Steps before pruning begins (tinit).</param>
/// <param name="FinalSteps">Last steps, in which the kept components stay the same (tfinal).</param>
/// <param name="Interval">Steps between two prunings (deltaT).</param>
/// <param name="TotalSteps">Steps of the run (total_step).</param>
/// <param name="Beta1">Memory of the sensitivity.</param>
/// <param name="Beta2">Memory of its uncertainty.</param>
/// <param name="OrthogonalityWeight">Weight of the orthogonality loss (orth_reg_weight).</param>
public sealed record AdaLoraSchedule(
    int InitialRank,
    int TargetRank,
    int WarmUpSteps,
    int FinalSteps,
    int Interval,
    int TotalSteps,
    float Beta1,
    float Beta2,
    float OrthogonalityWeight)
{
    internal static AdaLoraSchedule Read(JsonObject json, int initialRank)
    {
        AdaLoraSchedule schedule = new(
            initialRank,
            (int?)json["target_r"] ?? 8,
            (int?)json["tinit"] ?? 0,
            (int?)json["tfinal"] ?? 0,
            (int?)json["deltaT"] ?? 1,
            (int?)json["total_step"] ?? throw Wrong("total_step", "the number of steps of the run", "nothing"),
            (float?)json["beta1"] ?? 0.85f,
            (float?)json["beta2"] ?? 0.85f,
            (float?)json["orth_reg_weight"] ?? 0.5f);
        if (schedule.WarmUpSteps < 0 || schedule.FinalSteps < 0 || schedule.WarmUpSteps >= schedule.TotalSteps - schedule.FinalSteps)
        {
            throw Wrong(
                "total_step",
                "more steps than tinit and tfinal together",
                $"{schedule.TotalSteps} with tinit {schedule.WarmUpSteps}, tfinal {schedule.FinalSteps}");
        }

        if (schedule.TargetRank < 0 || schedule.TargetRank > initialRank)
        {
            throw Wrong("target_r", $"from 0 to init_r {initialRank}", $"{schedule.TargetRank}");
        }

        return schedule.Interval >= 1 ? schedule : throw Wrong("deltaT", "at least 1", $"{schedule.Interval}");
    }

    /// <summary>Components that all modules may keep after a step, and whether that step prunes.</summary>
    /// <param name="step">Number of the step, from 1.</param>
    /// <param name="initialBudget">Components at the start.</param>
    /// <param name="targetBudget">Components at the end.</param>
    public (int Budget, bool Prunes) BudgetAt(int step, int initialBudget, int targetBudget)
    {
        if (step <= WarmUpSteps)
        {
            return (initialBudget, false);
        }

        if (step > TotalSteps - FinalSteps)
        {
            return (targetBudget, true);
        }

        double left = 1 - ((double)(step - WarmUpSteps) / (TotalSteps - FinalSteps - WarmUpSteps));
        return ((int)(((initialBudget - targetBudget) * (left * left * left)) + targetBudget), step % Interval == 0);
    }

    private static AdapterFormatException Wrong(string field, string expected, string found) =>
        new(PeftImporter.ConfigFileName, field, expected, found);
}
