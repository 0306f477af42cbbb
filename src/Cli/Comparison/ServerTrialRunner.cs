using Grpc.Core;
using InferenceServer.Cli.Charts;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Comparison;

/// <summary>Trains each trial as a job of a server, which is removed once its numbers are known. Nothing stays published.</summary>
/// <param name="client">The server.</param>
/// <param name="template">What all jobs share.</param>
/// <param name="dataFile">The data set.</param>
/// <param name="targets">Modules, for the methods that leave them open; empty for all linear ones.</param>
internal sealed class ServerTrialRunner(
    InferenceClient client, TrainingSpec template, string dataFile, IReadOnlyList<string> targets) : ITrialRunner
{
    // Its ranks are known only of an exported adapter, so that one is published, not current, and removed.
    private const string RankedMethod = "adalora";

    public async Task<Trial> RunAsync(
        Contender contender, double rate, string? job, Action<string> began, CancellationToken cancellationToken)
    {
        Trial trial = new() { Contender = contender.Name, Rate = rate, Job = job ?? "" };
        TrainingJob? known = job is null ? null : await FindAsync(job, cancellationToken);
        if (known is null)
        {
            TrainingSpec spec = contender.CreateSpec(template, rate, targets);
            spec.Publish = new PublishSettings
            {
                Mode = contender.Method.Name == RankedMethod ? "staged" : "none",
                Which = contender.Method.Name == RankedMethod ? "last" : "",
            };
            try
            {
                known = await client.Training.StartAsync(spec, dataFile, cancellationToken);
            }
            catch (InferenceException refused) when (refused.Status is StatusCode.InvalidArgument or StatusCode.FailedPrecondition)
            {
                return trial with { Error = refused.Message };
            }

            began(known.Id);
        }

        List<ChartPoint> heldOut = [];
        await foreach (TrainingEvent happened in client.Training.WatchAsync(known.Id, cancellationToken: cancellationToken))
        {
            if (happened.Started is { } started)
            {
                heldOut.RemoveAll(point => point.X > started.ResumedFrom);
            }
            else if (happened.Evaluated is { } evaluated)
            {
                heldOut.Add(new ChartPoint(happened.Step, evaluated.Loss));
            }
        }

        TrainingJob ended = await client.Training.GetAsync(known.Id, cancellationToken);
        if (ended.State == TrainingState.Cancelled)
        {
            throw new CommandFailedException(
                $"job {ended.Id} ({contender.Name}) was cancelled; 'inferencectl jobs resume {ended.Id}' and the same command go on");
        }

        trial = Read(trial, ended, heldOut) with { LargestRank = await TakeBackAsync(ended, cancellationToken) };
        await client.Training.DeleteAsync(ended.Id, cancellationToken);
        return trial;
    }

    private static Trial Read(Trial trial, TrainingJob job, List<ChartPoint> heldOut)
    {
        TrainingCosts costs = job.Costs ?? new TrainingCosts();
        return trial with
        {
            Job = job.Id,
            Error = job.State == TrainingState.Failed ? job.Error : "",
            Steps = job.Step,
            HeldOut = heldOut,
            TrainableParameters = costs.TrainableParameters,
            AdapterBytes = costs.AdapterBytes,
            PeakBytes = costs.PeakBytes,
            BaseBytes = costs.BaseBytes,
            TrainingSeconds = costs.TrainingSeconds,
            ExactRight = job.ExactMatch?.Right ?? 0,
            ExactTotal = job.ExactMatch?.Total ?? 0,
        };
    }

    /// <summary>Removes what a job published and returns its largest rank; 0 when it published nothing.</summary>
    private async Task<int> TakeBackAsync(TrainingJob job, CancellationToken cancellationToken)
    {
        if (job.PublishedAdapter.Length == 0)
        {
            return 0;
        }

        AdapterInfo adapter = await client.Adapters.GetAsync(job.PublishedAdapter, cancellationToken);
        await client.Adapters.DeleteAsync(job.PublishedAdapter, cancellationToken: cancellationToken);
        return adapter.MaxRank;
    }

    private async Task<TrainingJob?> FindAsync(string job, CancellationToken cancellationToken)
    {
        try
        {
            return await client.Training.GetAsync(job, cancellationToken);
        }
        catch (InferenceException missing) when (missing.Status == StatusCode.NotFound)
        {
            return null;
        }
    }
}
