using System.Globalization;
using InferenceServer.Demo;
using InferenceServer.Demo.Making;
using InferenceServer.Demo.Verifying;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
DemoCommand command;
try
{
    command = DemoCommand.Parse(args);
}
catch (ArgumentException error)
{
    Console.Error.WriteLine($"error: {error.Message}\n{DemoCommand.Usage}");
    return 2;
}

DemoFolder demo = new(command.Out);
if (!command.IsVerify)
{
    string work = Path.GetFullPath(command.Work);
    BaseMaker.Make(demo, work, new MakeSettings(command.Threads), Console.Out);
    TenantMaker.Make(demo, work, command.Tenants, command.Threads, Console.Out);
}

IReadOnlyList<TaskResult> results = await DemoVerifier.VerifyAsync(demo, command.Tenants, command.Questions, command.Threads);
foreach (TaskResult result in results)
{
    foreach (string mistake in result.Mistakes.Take(5))
    {
        Console.WriteLine($"{result.Style.Name}: {mistake}");
    }
}

Console.WriteLine();
Console.Write(ResultTable.Write(results));
return results.All(result => result.Holds) ? 0 : 1;
