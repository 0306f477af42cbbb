using InferenceServer.Protocol.V1;
using Spectre.Console;

namespace InferenceServer.Cli.Rendering;

/// <summary>Adapters as a table, or one in full.</summary>
internal static class AdapterView
{
    private static readonly string[] s_columns =
        ["Name", "Digest", "State", "Type", "Rank", "Device", "Host", "Disk", "Requests", "Running", "Flags"];

    public static Table Table(IEnumerable<AdapterInfo> adapters)
    {
        Table table = new Table().Border(TableBorder.Simple);
        foreach (string column in s_columns)
        {
            bool number = column is "Rank" or "Device" or "Host" or "Disk" or "Requests" or "Running";
            TableColumn cell = new TableColumn(column).NoWrap();
            table.AddColumn(number ? cell.RightAligned() : cell);
        }

        foreach (AdapterInfo adapter in adapters)
        {
            table.AddRow(
                Markup.Escape(adapter.Name),
                Markup.Escape(Format.Digest(adapter.Digest)),
                Format.State(adapter.State),
                Markup.Escape(Type(adapter)),
                Format.Count(adapter.MaxRank),
                Format.Bytes(adapter.DeviceBytes),
                Format.Bytes(adapter.HostBytes),
                Format.Bytes(adapter.DiskBytes),
                Format.Count(adapter.Requests),
                Format.Count(adapter.RunningRequests),
                Flags(adapter));
        }

        return table;
    }

    public static Grid Details(AdapterInfo adapter)
    {
        Grid grid = new Grid().AddColumn(new GridColumn().NoWrap().PadRight(2)).AddColumn();
        Row(grid, "Name", adapter.Name);
        Row(grid, "Digest", adapter.Digest);
        Row(grid, "State", Format.State(adapter.State));
        Row(grid, "Flags", Flags(adapter));
        Row(grid, "Type", Type(adapter));
        Row(grid, "Rank", Format.Count(adapter.MaxRank));
        Row(grid, "Parameters", Format.Count(adapter.Parameters));
        Row(grid, "Targets", string.Join(", ", adapter.TargetModules));
        Row(grid, "Base model", adapter.BaseModel);
        Row(grid, "Disk", Format.Bytes(adapter.DiskBytes));
        Row(grid, "Host", Format.Bytes(adapter.HostBytes));
        Row(grid, "Device", Format.Bytes(adapter.DeviceBytes));
        Row(grid, "Uploaded", Format.Time(adapter.UploadedAt));
        Row(grid, "Last used", Format.Time(adapter.LastUsedAt));
        Row(grid, "Requests", $"{Format.Count(adapter.Requests)} ({Format.Count(adapter.RunningRequests)} running)");
        return grid;
    }

    public static void Row(Grid grid, string name, string value)
    {
        grid.AddRow(new Text(name), new Text(value));
    }

    private static string Type(AdapterInfo adapter)
    {
        return string.Join('+', adapter.Traits.Prepend(adapter.PeftType));
    }

    private static string Flags(AdapterInfo adapter)
    {
        List<string> flags = [];
        if (adapter.Current)
        {
            flags.Add("current");
        }

        if (adapter.Pinned)
        {
            flags.Add("pinned");
        }

        if (adapter.Merged)
        {
            flags.Add("merged");
        }

        return string.Join(',', flags);
    }
}
