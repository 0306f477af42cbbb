using InferenceServer.Demo.Language;
using InferenceServer.Demo.Making;

namespace InferenceServer.Demo.Verifying;

/// <summary>
/// Asks the base and the tenants held-out questions through the engine, greedily, and counts the answers that are right to the letter.
/// </summary>
public static class DemoVerifier
{
    /// <summary>Share of its own task that the base, or a tenant, must answer exactly.</summary>
    public const double LeastKnown = 0.95;

    /// <summary>Share of a tenant's task that the base may at most answer exactly.</summary>
    public const double MostUnknown = 0.05;

    private const string WeightsPattern = "*.safetensors";

    /// <param name="demo">What to verify.</param>
    /// <param name="tenants">Which tenants; the base is always verified.</param>
    /// <param name="questions">Held-out questions a task; always the same ones.</param>
    /// <param name="threads">Threads that compute; 0 for one a core.</param>
    public static async Task<IReadOnlyList<TaskResult>> VerifyAsync(
        DemoFolder demo, IEnumerable<TenantPlan> tenants, int questions, int threads = 0)
    {
        ArgumentNullException.ThrowIfNull(demo);
        TenantPlan[] plans = [.. tenants];
        await using DemoServing serving = await DemoServing.StartAsync(demo, plans, threads);
        List<TaskResult> results = [await VerifyAsync(demo, serving, AnswerStyle.Sentence, null, questions)];
        foreach (TenantPlan plan in plans)
        {
            results.Add(await VerifyAsync(demo, serving, plan.Style, plan, questions));
        }

        return results;
    }

    private static async Task<TaskResult> VerifyAsync(DemoFolder demo, DemoServing serving, AnswerStyle style, TenantPlan? tenant, int count)
    {
        IReadOnlyList<Question> questions = QuestionBank.Instance.Test(style, count);
        string[] expected = [.. questions.Select(question => style.Write(question.Answer))];
        string[] ofBase = await AnswerAsync(adapter: null);
        string[] ofTenant = tenant is null ? [] : await AnswerAsync(tenant.Name);
        string[] own = tenant is null ? ofBase : ofTenant;
        string folder = tenant is null ? demo.Base : demo.Adapter(tenant.Name);
        return new TaskResult(
            style,
            tenant,
            demo.RecordOf(tenant?.Name ?? DemoFolder.BaseName),
            new DirectoryInfo(folder).EnumerateFiles(WeightsPattern).Sum(file => file.Length),
            count,
            Exact(ofBase),
            Exact(ofTenant),
            [.. questions.Zip(own, expected).Where(each => each.Second != each.Third).Select(each => $"{each.First.Text} -> {each.Second} (right: {each.Third})")]);

        Task<string[]> AnswerAsync(string? adapter) =>
            Task.WhenAll(questions.Select(question => serving.AnswerAsync(adapter, question.Text)));

        int Exact(string[] answers) => answers.Zip(expected).Count(pair => pair.First == pair.Second);
    }
}
