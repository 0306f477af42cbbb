using System.CommandLine;
using InferenceServer.Cli.Rendering;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary><c>adapters ...</c>: look at, place, merge and remove adapters.</summary>
internal static class AdapterCommands
{
    public static Command Create(GlobalOptions global)
    {
        return new Command("adapters", "Manage the server's adapters.")
        {
            List(global),
            One(global, "get", "Show one adapter in full.", (adapters, name, token) => adapters.GetAsync(name, token)),
            UploadCommand.Create(global),
            One(global, "load", "Bring an adapter onto the device.", (adapters, name, token) => adapters.LoadAsync(name, token)),
            Unload(global),
            Delete(global),
            One(global, "pin", "Keep an adapter on the device.", (adapters, name, token) => adapters.PinAsync(name, true, token)),
            One(global, "unpin", "Let a pinned adapter go again.", (adapters, name, token) => adapters.PinAsync(name, false, token)),
            One(global, "activate", "Make name@digest the current one.", (adapters, name, token) => adapters.ActivateAsync(name, token)),
            Merge(global),
            Unmerge(global),
        };
    }

    private static Command List(GlobalOptions global)
    {
        Option<bool> all = new("--all") { Description = "All versions, not only the current ones." };
        Command command = new("list", "List the adapters.") { all };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            ListAdaptersResponse whole = new();
            await foreach (AdapterInfo adapter in session.Client.Adapters.ListAsync(parsed.GetValue(all), token))
            {
                whole.Adapters.Add(adapter);
            }

            if (session.Json)
            {
                session.WriteJson(whole);
            }
            else if (whole.Adapters.Count == 0)
            {
                await session.Output.WriteLineAsync("no adapters");
            }
            else
            {
                session.Console.Write(AdapterView.Table(whole.Adapters));
            }
        }, cancellationToken));
        return command;
    }

    private static Command One(
        GlobalOptions global, string name, string description, Func<AdapterClient, string, CancellationToken, Task<AdapterInfo>> call)
    {
        Argument<string> adapter = AdapterArgument();
        Command command = new(name, description) { adapter };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            AdapterInfo info = await call(session.Client.Adapters, parsed.GetRequiredValue(adapter), token);
            if (session.Json)
            {
                session.WriteJson(info);
                return;
            }

            session.Console.Write(AdapterView.Details(info));
        }, cancellationToken));
        return command;
    }

    private static Command Unload(GlobalOptions global)
    {
        Argument<string> adapter = AdapterArgument();
        Command command = new("unload", "Free an adapter's memory; it stays on the server's disk.") { adapter };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            UnloadAdapterResponse reply = await session.Client.Adapters.UnloadAsync(parsed.GetRequiredValue(adapter), token);
            string freed = $"freed {Format.Bytes(reply.FreedDeviceBytes)} on the device, {Format.Bytes(reply.FreedHostBytes)} on the host";
            Print(session, reply, freed);
        }, cancellationToken));
        return command;
    }

    private static Command Delete(GlobalOptions global)
    {
        Argument<string> adapter = AdapterArgument();
        Option<bool> all = new("--all-versions") { Description = "Delete every version of the name." };
        Command command = new("delete", "Remove an adapter from the server's disk too.") { adapter, all };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            DeleteAdapterResponse reply = await session.Client.Adapters.DeleteAsync(
                parsed.GetRequiredValue(adapter), parsed.GetValue(all), token);
            Print(session, reply, $"deleted {reply.DeletedVersions} version(s), freed {Format.Bytes(reply.FreedDiskBytes)} on disk");
        }, cancellationToken));
        return command;
    }

    private static Command Merge(GlobalOptions global)
    {
        Argument<string> adapter = AdapterArgument();
        Command command = new("merge", "Fold an adapter into the base for one hot tenant.") { adapter };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            MergeAdapterResponse reply = await session.Client.Adapters.MergeAsync(parsed.GetRequiredValue(adapter), token);
            Print(
                session,
                reply,
                $"merged {reply.Adapter.Name}@{Format.Digest(reply.Adapter.Digest)}: {reply.MergedModules} modules "
                    + $"in {reply.Seconds:0.###} s, {Format.Bytes(reply.ExtraBytes)} held"
                    + (reply.LogitChange is { } change
                        ? $"; its logits move by at most {change.Tenant:0.#####}, everybody else's by {change.Others:0.#####}, of up to {change.LargestLogit:0.##}"
                        : ""));
        }, cancellationToken));
        return command;
    }

    private static Command Unmerge(GlobalOptions global)
    {
        Argument<string> adapter = new("adapter")
        {
            Description = "The merged adapter; whichever it is when left out.",
            Arity = ArgumentArity.ZeroOrOne,
            DefaultValueFactory = _ => "",
        };
        Command command = new("unmerge", "Restore the base bit for bit.") { adapter };
        command.SetAction((parsed, cancellationToken) => Session.RunAsync(parsed, global, async (session, token) =>
        {
            UnmergeAdapterResponse reply = await session.Client.Adapters.UnmergeAsync(parsed.GetValue(adapter) ?? "", token);
            Print(session, reply, $"unmerged {reply.Adapter}, freed {Format.Bytes(reply.FreedBytes)}");
        }, cancellationToken));
        return command;
    }

    private static void Print(Session session, Google.Protobuf.IMessage reply, string line)
    {
        if (session.Json)
        {
            session.WriteJson(reply);
        }
        else
        {
            session.Output.WriteLine(line);
        }
    }

    private static Argument<string> AdapterArgument()
    {
        return new Argument<string>("adapter") { Description = "name for the current version, or name@digest." };
    }
}
