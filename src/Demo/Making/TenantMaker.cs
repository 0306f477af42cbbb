using InferenceServer.Training;
using InferenceServer.Training.Runs;

namespace InferenceServer.Demo.Making;

/// <summary>Trains the tenants on the base as it is committed.</summary>
internal static class TenantMaker
{
    private const int Seed = 7;
    private const int MinSampleTokens = 20;
    private const int HeldOutSamples = 300;

    /// <summary>Trains those that are not there yet.</summary>
    /// <param name="demo">The base; where the adapters go.</param>
    /// <param name="work">Text and checkpoints.</param>
    /// <param name="tenants">Which to train.</param>
    /// <param name="threads">Threads that compute; 0 for one a core.</param>
    /// <param name="output">Told of the progress.</param>
    public static void Make(DemoFolder demo, string work, IEnumerable<TenantPlan> tenants, int threads, TextWriter output)
    {
        using TrainingBench bench = new(demo.Base, threads);
        foreach (TenantPlan plan in tenants)
        {
            if (Directory.Exists(demo.Adapter(plan.Name)))
            {
                output.WriteLine($"{plan.Name}: {demo.Adapter(plan.Name)} is there already");
                continue;
            }

            Train(plan, bench, demo, Path.Combine(work, "tenants"), output);
        }
    }

    private static void Train(TenantPlan plan, TrainingBench bench, DemoFolder demo, string work, TextWriter output)
    {
        Directory.CreateDirectory(work);
        string train = Path.Combine(work, plan.Name + ".jsonl");
        string heldOut = Path.Combine(work, plan.Name + "-held-out.jsonl");
        TrainingText.WriteTenant(train, plan.Style, plan.Steps * plan.BatchTokens / MinSampleTokens, Seed);
        TrainingText.WriteTenant(heldOut, plan.Style, HeldOutSamples, Seed + 1, isHeldOut: true);
        Progress progress = new(output, plan.Name, interval: 50);
        using Trainer trainer = Trainer.ForAdapter(
            bench.Model.Transformer, bench.Backend, bench.Operations, plan.Recipe, plan.Options(Seed));
        RunOptions options = new() { Steps = plan.Steps, DataSeed = Seed, EvaluateEvery = 100, CheckpointEvery = 0, KeepCheckpoints = 1 };
        TrainingRun run = new(trainer, bench.Load(train), bench.Load(heldOut), options, Path.Combine(work, plan.Name + "-run"));
        RunResult result = run.Run(progress.Tell);
        CopyFolder(result.LastAdapter!, demo.Adapter(plan.Name));
        demo.Record(plan.Name, trainer.TrainedParameters.Sum(parameter => parameter.Count), progress.Seconds);
    }

    private static void CopyFolder(string source, string target)
    {
        Directory.CreateDirectory(target);
        foreach (string file in Directory.EnumerateFiles(source))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }
    }
}
