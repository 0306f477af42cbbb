using InferenceServer.Cli.Jobs;
using InferenceServer.Protocol.V1;
using Spectre.Console;

namespace InferenceServer.Cli.Rendering;

/// <summary>Training jobs as a table, or one in full.</summary>
internal static class JobView
{
    private static readonly string[] s_columns = ["Job", "Adapter", "State", "Step", "Loss", "Held-out", "Started", "Published"];

    public static Table Table(IEnumerable<TrainingJob> jobs)
    {
        Table table = new Table().Border(TableBorder.Simple);
        foreach (string column in s_columns)
        {
            TableColumn cell = new TableColumn(column).NoWrap();
            table.AddColumn(column is "Step" or "Loss" or "Held-out" ? cell.RightAligned() : cell);
        }

        foreach (TrainingJob job in jobs)
        {
            table.AddRow(
                Markup.Escape(job.Id),
                Markup.Escape(job.Spec.Adapter),
                State(job),
                Step(job),
                job.Step > 0 ? JobText.Loss(job.Loss) : "",
                job.BestStep > 0 ? JobText.Loss(job.BestLoss) : "",
                Format.Time(job.StartedAt),
                Markup.Escape(JobText.Adapter(job.PublishedAdapter)));
        }

        return table;
    }

    public static Grid Details(TrainingJob job)
    {
        Grid grid = new Grid().AddColumn(new GridColumn().NoWrap().PadRight(2)).AddColumn();
        AdapterView.Row(grid, "Job", job.Id);
        AdapterView.Row(grid, "Adapter", job.Spec.Adapter);
        AdapterView.Row(grid, "State", State(job));
        AdapterView.Row(grid, "Step", Step(job));
        AdapterView.Row(grid, "Loss", job.Step > 0 ? JobText.Loss(job.Loss) : "");
        AdapterView.Row(grid, "Held-out", job.BestStep > 0 ? $"{JobText.Loss(job.BestLoss)} at step {job.BestStep}" : "");
        AdapterView.Row(grid, "Exact match", job.ExactMatch is { Total: > 0 } match ? JobText.Share(match) : "");
        AdapterView.Row(grid, "Created", Format.Time(job.CreatedAt));
        AdapterView.Row(grid, "Started", Format.Time(job.StartedAt));
        AdapterView.Row(grid, "Ended", Format.Time(job.EndedAt));
        if (job.Costs is { } costs)
        {
            AdapterView.Row(grid, "Parameters", $"{Format.Count(costs.TrainableParameters)} ({Format.Bytes(costs.AdapterBytes)} exported)");
            AdapterView.Row(grid, "Memory", $"{Format.Bytes(costs.PeakBytes)} beside the base of {Format.Bytes(costs.BaseBytes)}");
            AdapterView.Row(grid, "Time", $"{costs.TrainingSeconds:0.#} s in steps, {costs.TokensPerSecond:0} tokens/s");
        }

        AdapterView.Row(grid, "Published", job.PublishedAdapter);
        if (job.Error.Length > 0)
        {
            AdapterView.Row(grid, "Error", job.Error);
        }

        return grid;
    }

    private static string State(TrainingJob job)
    {
        return job.State == TrainingState.Queued && job.QueuePosition > 0
            ? $"queued ({job.QueuePosition} before)"
            : JobText.State(job.State);
    }

    private static string Step(TrainingJob job)
    {
        return $"{Format.Count(job.Step)} of {Format.Count(job.TotalSteps)}";
    }
}
