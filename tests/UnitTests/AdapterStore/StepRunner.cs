namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>Background work that runs only when the test says so, one piece at a time.</summary>
internal sealed class StepRunner
{
    private readonly Queue<Action> _work = new();

    public int Count => _work.Count;

    public void Add(Action work) => _work.Enqueue(work);

    public void RunOne() => _work.Dequeue()();

    public void RunAll()
    {
        while (_work.Count > 0)
        {
            RunOne();
        }
    }
}
