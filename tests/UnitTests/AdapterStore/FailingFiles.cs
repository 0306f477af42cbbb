using InferenceServer.AdapterStore.Catalog;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>A disk that fails at one step: once (an error), or from there on (a crash).</summary>
internal sealed class FailingFiles : StoreFiles
{
    public int Steps { get; private set; }

    public int FailAt { get; set; } = -1;

    public bool StaysDown { get; set; }

    public string? Failed { get; private set; }

    protected override void Step(string operation, string path)
    {
        int step = Steps++;
        if (step == FailAt || (StaysDown && FailAt >= 0 && step > FailAt))
        {
            Failed ??= operation;
            throw new IOException($"no space left on device ({operation})");
        }
    }
}
