using InferenceServer.Engine.Scheduling;

namespace InferenceServer.Engine.Loop;

/// <summary>Numbers that the loop publishes after each step for anybody to read.</summary>
internal sealed class LoopCounters
{
    private long _promptTokens;
    private long _generationTokens;
    private long _steps;
    private long _preemptions;
    private long _prefixQueryTokens;
    private long _prefixHitTokens;
    private int _running;
    private int _waiting;
    private int _usedBlocks;

    public long PromptTokens => Volatile.Read(ref _promptTokens);

    public long GenerationTokens => Volatile.Read(ref _generationTokens);

    public long Steps => Volatile.Read(ref _steps);

    public long Preemptions => Volatile.Read(ref _preemptions);

    public long PrefixQueryTokens => Volatile.Read(ref _prefixQueryTokens);

    public long PrefixHitTokens => Volatile.Read(ref _prefixHitTokens);

    public int Running => Volatile.Read(ref _running);

    public int Waiting => Volatile.Read(ref _waiting);

    public int UsedBlocks => Volatile.Read(ref _usedBlocks);

    public void AddPrompt(int tokens) => Volatile.Write(ref _promptTokens, _promptTokens + tokens);

    public void AddGenerated(int tokens) => Volatile.Write(ref _generationTokens, _generationTokens + tokens);

    public void AddStep() => Volatile.Write(ref _steps, _steps + 1);

    public void Publish(Scheduler scheduler)
    {
        SchedulerCounters counters = scheduler.Counters;
        Volatile.Write(ref _preemptions, counters.Preemptions);
        Volatile.Write(ref _prefixQueryTokens, counters.PrefixQueryTokens);
        Volatile.Write(ref _prefixHitTokens, counters.PrefixHitTokens);
        Volatile.Write(ref _running, scheduler.Running.Count);
        Volatile.Write(ref _waiting, scheduler.Waiting.Count);
        Volatile.Write(ref _usedBlocks, scheduler.UsedBlocks);
    }
}
