namespace InferenceServer.Engine.Scheduling;

/// <summary>Running totals of a scheduler.</summary>
/// <param name="Preemptions">Sequences that lost their blocks.</param>
/// <param name="PrefixQueryTokens">Tokens looked up in the prefix cache at admissions.</param>
/// <param name="PrefixHitTokens">Of these, found.</param>
public readonly record struct SchedulerCounters(long Preemptions, long PrefixQueryTokens, long PrefixHitTokens);
