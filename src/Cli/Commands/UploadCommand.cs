using System.CommandLine;
using InferenceServer.Cli.Rendering;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Spectre.Console;

namespace InferenceServer.Cli.Commands;

/// <summary><c>adapters upload NAME FOLDER</c>, with a progress bar on a terminal.</summary>
internal static class UploadCommand
{
    public static Command Create(GlobalOptions global)
    {
        Argument<string> name = new("name") { Description = "The adapter's name on the server." };
        Argument<DirectoryInfo> folder = new("folder") { Description = "Folder with adapter_config.json and adapter_model.safetensors." };
        Option<bool> mustBeNew = new("--new") { Description = "Refuse when the name exists already." };
        Option<bool> load = new("--load") { Description = "Bring it onto the device too." };
        Option<bool> pin = new("--pin") { Description = "Keep it on the device." };
        Option<bool> stage = new("--stage") { Description = "Upload as a version that is not current yet." };
        Command command =
            new("upload", "Upload a PEFT adapter; the same name again is a new version.") { name, folder, mustBeNew, load, pin, stage };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            UploadOptions options = new()
            {
                MustBeNew = parsed.GetValue(mustBeNew),
                Load = parsed.GetValue(load),
                Pin = parsed.GetValue(pin),
                StageOnly = parsed.GetValue(stage),
                Timeout = session.Timeout,
            };
            string path = parsed.GetRequiredValue(folder).FullName;
            UploadResponse reply = await WithProgressAsync(
                session,
                progress => session.Client.Adapters.UploadFolderAsync(parsed.GetRequiredValue(name), path, options, progress, token));
            Print(session, reply);
        }, cancellationToken));
        return command;
    }

    private static async Task<UploadResponse> WithProgressAsync(
        Session session, Func<IProgress<UploadProgress>?, Task<UploadResponse>> upload)
    {
        if (session.Json || !session.Console.Profile.Capabilities.Interactive)
        {
            return await upload(null);
        }

        return await session.Console.Progress()
            .Columns(
                new TaskDescriptionColumn(),
                new ProgressBarColumn(),
                new DownloadedColumn(),
                new TransferSpeedColumn(),
                new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                ProgressTask bar = context.AddTask("upload");
                return await upload(new BarProgress(bar));
            });
    }

    private static void Print(Session session, UploadResponse reply)
    {
        if (session.Json)
        {
            session.WriteJson(reply);
            return;
        }

        AdapterInfo adapter = reply.Adapter;
        string what = reply.AlreadyPresent ? "already present" : "uploaded";
        session.Output.WriteLine(
            $"{what} {adapter.Name}@{Format.Digest(adapter.Digest)}: {adapter.PeftType}, rank {adapter.MaxRank}, "
            + $"{Format.Count(adapter.Parameters)} parameters, {Format.Bytes(adapter.DiskBytes)}, {Format.State(adapter.State)}");
    }

    /// <summary>Moves the bar on the caller's thread, in order; <see cref="Progress{T}"/> would not.</summary>
    private sealed class BarProgress(ProgressTask bar) : IProgress<UploadProgress>
    {
        public void Report(UploadProgress value)
        {
            bar.Description = Markup.Escape(value.FileName);
            bar.MaxValue = Math.Max(value.TotalBytes, 1);
            bar.Value = value.SentBytes;
        }
    }
}
