using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Streaming;

namespace InferenceServer.Engine.Loop;

/// <summary>The only way into the loop.</summary>
internal abstract record EngineCommand
{
    private EngineCommand()
    {
    }

    /// <summary>A generation whose adapters are resident joins the queue.</summary>
    public sealed record Add(Generation Generation) : EngineCommand;

    /// <summary>A generation is not wanted any more; nothing happens when it has ended.</summary>
    public sealed record Cancel(Generation Generation) : EngineCommand;

    /// <summary>The base changes between two steps; null takes the merged adapter out.</summary>
    public sealed record ChangeBase(MergedState? Merged, TaskCompletionSource Done) : EngineCommand;

    /// <summary>Adapters want memory that KV blocks may have; looked after between any two steps, so this only ends the loop's sleep.</summary>
    public sealed record GiveMemory : EngineCommand;

    /// <summary>Ends everything that still runs; the loop ends once it has nothing to do.</summary>
    /// <param name="Error">What the rest ends with; null lets it finish.</param>
    public sealed record Stop(Exception? Error) : EngineCommand;
}
