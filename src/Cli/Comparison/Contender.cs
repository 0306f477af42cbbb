using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Comparison;

/// <summary>A method at a size: what one row of the comparison is about.</summary>
/// <param name="Method">How it is trained.</param>
/// <param name="Rank">Its rank; 0 where there is none.</param>
/// <param name="Alpha">Numerator of its scale; 0 for the method's default.</param>
/// <param name="SeedOffset">Added to the run's seed; above 0 only to see how much a seed alone changes.</param>
internal sealed record Contender(TrainingMethod Method, int Rank, double Alpha, int SeedOffset = 0)
{
    /// <summary>What tables call it; unique in a comparison.</summary>
    public string Name
    {
        get
        {
            string sized = Rank > 0 ? $"{Method.Name} r{Rank}" : Method.Name;
            return SeedOffset > 0 ? $"{sized} seed +{SeedOffset}" : sized;
        }
    }

    /// <summary>The job of this contender at a learning rate.</summary>
    /// <param name="template">What all jobs share.</param>
    /// <param name="rate">The peak of the schedule.</param>
    /// <param name="targets">Modules, for the methods that leave them open.</param>
    public TrainingSpec CreateSpec(TrainingSpec template, double rate, IReadOnlyList<string> targets)
    {
        TrainingSpec spec = template.Clone();
        spec.Optimizer ??= new OptimizerSettings();
        spec.Optimizer.LearningRate = rate;
        spec.Run ??= new RunSettings();
        spec.Run.Seed += SeedOffset;
        spec.Adapter = "compare-" + Method.Name;

        // IA3 has modules of its own, and full fine-tuning takes all.
        bool choosesModules = Rank > 0;
        Method.ApplyTo(spec, new AdapterSettings { Rank = Rank, Alpha = Alpha, Targets = choosesModules ? targets : [] });
        return spec;
    }
}
