using System.Globalization;
using InferenceServer.Demo.Language;
using InferenceServer.Demo.Making;

namespace InferenceServer.Demo;

/// <summary>The command line: <c>[make|verify] [--out FOLDER] [--work FOLDER] [--threads N] [--questions N] [--tenant NAME]</c>.</summary>
/// <param name="IsVerify">Only measures what is there.</param>
/// <param name="Out">The demo's folder.</param>
/// <param name="Work">Text and checkpoints while it is made.</param>
/// <param name="Threads">Threads that compute; 0 for one a core.</param>
/// <param name="Questions">Held-out questions a task.</param>
/// <param name="Tenant">The one tenant to make and verify, or null for all.</param>
internal sealed record DemoCommand(bool IsVerify, string Out, string Work, int Threads, int Questions, string? Tenant)
{
    public const string Usage = """
        usage: demo [make|verify] [options]
          make               make the text, the tokenizer, the base and the tenants, then verify (the default); what is there already
                             is kept, and a training that was stopped goes on from its last checkpoint
          verify             ask base and tenants held-out questions and print the table of results
          --out FOLDER       the demo (default samples/demo)
          --work FOLDER      text and checkpoints of the training (default data/demo)
          --threads N        threads that compute (default: one a core)
          --tenant NAME      make and verify this tenant only
          --questions N      held-out questions a task (default 400)
        """;

    /// <summary>The tenants that are meant.</summary>
    public IEnumerable<TenantPlan> Tenants => TenantPlan.All.Where(plan => Tenant is null || plan.Name == Tenant);

    /// <exception cref="ArgumentException">An argument is unknown or has no proper value.</exception>
    public static DemoCommand Parse(IReadOnlyList<string> arguments)
    {
        DemoCommand command = new(false, Path.Combine("samples", "demo"), Path.Combine("data", "demo"), 0, 400, null);
        for (int i = 0; i < arguments.Count; i++)
        {
            command = arguments[i] switch
            {
                "make" when i == 0 => command,
                "verify" when i == 0 => command with { IsVerify = true },
                "--out" => command with { Out = Value(ref i) },
                "--work" => command with { Work = Value(ref i) },
                "--threads" => command with { Threads = Number(ref i, 0) },
                "--tenant" => command with { Tenant = AnswerStyle.Find(Value(ref i)).Name },
                "--questions" => command with { Questions = Number(ref i, 1) },
                string other => throw new ArgumentException($"'{other}' is unknown"),
            };
        }

        return command;

        string Value(ref int i) =>
            i + 1 < arguments.Count ? arguments[++i] : throw new ArgumentException($"{arguments[i]} needs a value");

        int Number(ref int i, int least)
        {
            string name = arguments[i];
            string text = Value(ref i);
            return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= least
                ? number
                : throw new ArgumentException($"{name} '{text}' is not a number of at least {least}");
        }
    }
}
