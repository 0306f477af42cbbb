using System.CommandLine;
using InferenceServer.Client;
using Spectre.Console;

namespace InferenceServer.Cli.Commands;

/// <summary><c>download NAME --out FOLDER</c>: an adapter as PEFT's files, or folded into the base as a Hugging Face folder.</summary>
internal static class DownloadCommand
{
    public static Command Create(GlobalOptions global)
    {
        Argument<string?> name = new("name") { Description = "name or name@digest.", Arity = ArgumentArity.ZeroOrOne };
        Option<DirectoryInfo> folder = new("--out") { Description = "Where the files go; made when it is missing.", Required = true };
        Option<bool> merged = new("--merged") { Description = "The base with the adapter folded in, as a model folder." };
        Option<bool> single = new("--f32") { Description = "With --merged: weights in f32, as exact as serving." };
        Option<string?> job = new("--job") { Description = "In place of a name: the model of a job of full fine-tuning." };
        Command command = new("download", "Download an adapter, or a model with it folded in.") { name, folder, merged, single, job };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            string? adapter = parsed.GetValue(name);
            string? trained = parsed.GetValue(job);
            if (adapter is null == trained is null)
            {
                throw new UsageException("download takes the name of an adapter or --job, one of them");
            }

            if (!parsed.GetValue(merged) && parsed.GetValue(single))
            {
                throw new UsageException("--f32 goes with --merged; an adapter has the precision that it was stored in");
            }

            string path = parsed.GetRequiredValue(folder).FullName;
            TrainingClient training = session.Client.Training;
            IReadOnlyList<string> files = await WithProgressAsync(session, progress =>
                trained is not null ? training.DownloadTrainedModelAsync(trained, path, progress, token)
                : parsed.GetValue(merged)
                    ? training.DownloadMergedModelAsync(adapter!, path, parsed.GetValue(single), progress, token)
                    : training.DownloadAdapterAsync(adapter!, path, progress, token));
            if (session.Json)
            {
                await session.Output.WriteLineAsync(System.Text.Json.JsonSerializer.Serialize(new { folder = path, files }));
                return;
            }

            await session.Output.WriteLineAsync($"{string.Join(", ", files)} in {path}");
        }, cancellationToken));
        return command;
    }

    private static async Task<IReadOnlyList<string>> WithProgressAsync(
        Session session, Func<IProgress<DownloadProgress>?, Task<IReadOnlyList<string>>> download)
    {
        if (session.Json || !session.Console.Profile.Capabilities.Interactive)
        {
            return await download(null);
        }

        return await session.Console.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new DownloadedColumn(), new TransferSpeedColumn())
            .StartAsync(async context => await download(new BarProgress(context.AddTask("download"))));
    }

    /// <summary>Moves the bar on the caller's thread, in order; <see cref="Progress{T}"/> would not.</summary>
    private sealed class BarProgress(ProgressTask bar) : IProgress<DownloadProgress>
    {
        public void Report(DownloadProgress value)
        {
            bar.Description = Markup.Escape(value.FileName);
            bar.MaxValue = Math.Max(value.FileBytes, 1);
            bar.Value = value.ReceivedBytes;
        }
    }
}
