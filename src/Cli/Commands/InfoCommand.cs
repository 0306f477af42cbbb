using System.CommandLine;
using InferenceServer.Cli.Rendering;
using InferenceServer.Protocol.V1;
using Spectre.Console;

namespace InferenceServer.Cli.Commands;

/// <summary><c>info</c>: what the server is and how it stands.</summary>
internal static class InfoCommand
{
    public static Command Create(GlobalOptions global)
    {
        Command command = new("info", "Show the server's model, device, limits and load.");
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            ServerInfo info = await session.Client.GetInfoAsync(token);
            if (session.Json)
            {
                session.WriteJson(info);
                return;
            }

            session.Console.Write(Details(info));
        }, cancellationToken));
        return command;
    }

    private static Grid Details(ServerInfo info)
    {
        ModelInfo model = info.Model;
        Limits limits = info.Limits;
        Load load = info.Load;
        Grid grid = new Grid().AddColumn(new GridColumn().NoWrap().PadRight(2)).AddColumn();
        AdapterView.Row(grid, "Version", info.Version);
        AdapterView.Row(grid, "Uptime", $"{info.Uptime.ToTimeSpan():d\\.hh\\:mm\\:ss}");
        AdapterView.Row(
            grid, "Model", $"{model.Name} ({model.Architecture}, {Format.Count(model.Parameters)} parameters, {model.WeightFormat})");
        AdapterView.Row(
            grid, "Shape", $"{model.Layers} layers, hidden {model.HiddenSize}, vocabulary {Format.Count(model.VocabularySize)}");
        AdapterView.Row(grid, "Context", $"{Format.Count(model.MaxModelLength)} tokens");
        AdapterView.Row(grid, "Text", $"tokenizer {YesNo(model.HasTokenizer)}, chat template {YesNo(model.HasChatTemplate)}");
        AdapterView.Row(grid, "Weights", Format.Bytes(model.WeightBytes));
        AdapterView.Row(grid, "Device", info.Device);
        AdapterView.Row(
            grid, "Running", $"{load.Running} of {limits.MaxRunningSequences}, {load.Waiting} waiting of {limits.MaxQueuedRequests}");
        AdapterView.Row(
            grid, "KV blocks", $"{Format.Count(load.KvBlocksUsed)} of {Format.Count(limits.KvBlocks)}, {limits.KvBlockSize} tokens each");
        AdapterView.Row(
            grid, "Adapters", $"{load.AdaptersOnDisk} on disk, {load.AdaptersOnHost} on host, {load.AdaptersOnDevice} on device");
        AdapterView.Row(
            grid,
            "Adapter memory",
            $"host {Format.Bytes(limits.HostAdapterBudgetBytes)}, device {Format.Bytes(limits.DeviceAdapterBudgetBytes)}");
        AdapterView.Row(grid, "Largest adapter", $"rank {limits.MaxAdapterRank}, {Format.Bytes(limits.MaxAdapterBytes)}");
        AdapterView.Row(grid, "Merged", info.MergedAdapter.Length > 0 ? info.MergedAdapter : "none");
        return grid;
    }

    private static string YesNo(bool value)
    {
        return value ? "yes" : "no";
    }
}
