using System.Runtime.InteropServices;
using InferenceServer.Cuda.Devices;

namespace InferenceServer.Cuda.Launching;

/// <summary>
/// Graphs of whole steps, found by the launches themselves: a step whose launches are those of an earlier one, to the last argument, is
/// launched as that one's graph. What changes from step to step lies in device memory and is no argument, so nothing has to be invalidated: a
/// merged weight or a moved buffer is simply another list.
/// </summary>
internal sealed class StepGraphs : IDisposable
{
    private const int MaxGraphs = 128;

    private readonly Dictionary<int, Entry> _entries = [];
    private long _clock;

    /// <summary>Graphs captured so far.</summary>
    public int CaptureCount { get; private set; }

    /// <summary>Steps launched as a graph.</summary>
    public long LaunchCount { get; private set; }

    /// <summary>Launches a step: one by one when it is new, captured when it came before.</summary>
    public void Launch(LaunchList launches, CudaStream stream)
    {
        ReadOnlySpan<ulong> words = launches.Words;
        HashCode hash = default;
        hash.AddBytes(MemoryMarshal.AsBytes(words));
        int key = hash.ToHashCode();
        ref Entry? entry = ref CollectionsMarshal.GetValueRefOrAddDefault(_entries, key, out bool isKnown);
        if (!isKnown || !words.SequenceEqual(entry!.Words))
        {
            entry?.Graph?.Dispose();
            entry = new Entry(words.ToArray()) { LastUse = ++_clock };
            LaunchList.Launch(words, stream);
            RemoveOldest();
            return;
        }

        entry.LastUse = ++_clock;
        if (entry.Graph is null)
        {
            ulong[] captured = entry.Words;
            entry.Graph = stream.Capture(() => LaunchList.Launch(captured, stream));
            CaptureCount++;
        }

        entry.Graph.Launch(stream);
        LaunchCount++;
    }

    public void Dispose()
    {
        foreach (Entry entry in _entries.Values)
        {
            entry.Graph?.Dispose();
        }

        _entries.Clear();
    }

    private void RemoveOldest()
    {
        if (_entries.Count <= MaxGraphs)
        {
            return;
        }

        (int key, Entry oldest) = _entries.MinBy(pair => pair.Value.LastUse);
        oldest.Graph?.Dispose();
        _entries.Remove(key);
    }

    private sealed class Entry(ulong[] words)
    {
        public ulong[] Words => words;

        public CudaGraph? Graph { get; set; }

        public long LastUse { get; set; }
    }
}
