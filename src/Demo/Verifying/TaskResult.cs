using InferenceServer.Demo.Language;
using InferenceServer.Demo.Making;

namespace InferenceServer.Demo.Verifying;

/// <summary>How a task of held-out questions went.</summary>
/// <param name="Style">The task: answers in this style.</param>
/// <param name="Tenant">Its tenant; null for the base's own task.</param>
/// <param name="Training">What its training took, where that is known.</param>
/// <param name="Bytes">Bytes of the weights on disk.</param>
/// <param name="Questions">Questions asked.</param>
/// <param name="BaseExact">How many the base answered exactly so.</param>
/// <param name="TenantExact">How many the tenant answered exactly so; 0 without one.</param>
/// <param name="Mistakes">What was wrong of the one whose task it is.</param>
public sealed record TaskResult(
    AnswerStyle Style,
    TenantPlan? Tenant,
    TrainingRecord? Training,
    long Bytes,
    int Questions,
    int BaseExact,
    int TenantExact,
    IReadOnlyList<string> Mistakes)
{
    public double BaseShare => (double)BaseExact / Questions;

    public double TenantShare => (double)TenantExact / Questions;

    /// <summary>The base knows its own task and none of the tenants'; a tenant knows its own.</summary>
    public bool Holds => Tenant is null ? BaseShare >= DemoVerifier.LeastKnown : TenantShare >= DemoVerifier.LeastKnown && BaseShare <= DemoVerifier.MostUnknown;
}
