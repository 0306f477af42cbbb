using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;

namespace InferenceServer.Cuda.Launching;

/// <summary>
/// The stream of the operations. A step of decodes is gathered first and launched as a whole by <see cref="Flush"/>; all other launches go
/// out at once. Belongs to the thread that calls the operations.
/// </summary>
internal sealed class KernelQueue : IDisposable
{
    private readonly LaunchList _gathered = new();
    private readonly StepGraphs _graphs = new();
    private readonly CudaStream _stream = new();
    private readonly Action? _beforeOperation;
    private PostponedLaunch? _postponed;
    private bool _isGathering;

    /// <param name="beforeOperation">Called before each launch; null for nothing.</param>
    public KernelQueue(Action? beforeOperation = null) => _beforeOperation = beforeOperation;

    /// <summary>Graphs and how often they ran.</summary>
    public StepGraphs Graphs => _graphs;

    /// <summary>The stream, ahead of what is gathered: for copies that the gathered launches need.</summary>
    public CudaStream StreamAhead => _stream;

    /// <summary>From here on launches are gathered, until <see cref="Flush"/>.</summary>
    public void Gather()
    {
        Flush();
        _isGathering = true;
    }

    /// <summary>Keeps an operation back until the next one is known.</summary>
    public void Postpone(PostponedLaunch launch)
    {
        LaunchPostponed();
        _postponed = launch;
    }

    /// <summary>Takes back an operation that waits; the caller does it.</summary>
    /// <returns>Whether it waits: nothing came after it.</returns>
    public bool TryTake(PostponedLaunch launch)
    {
        if (_postponed != launch)
        {
            return false;
        }

        _postponed = null;
        return true;
    }

    /// <summary>Launches a kernel after all earlier ones; an empty grid launches nothing.</summary>
    /// <param name="function">The kernel.</param>
    /// <param name="grid">Its blocks.</param>
    /// <param name="arguments">
    /// Its parameters, in order. In a step of decodes they must not change from step to step: what does lies in <see cref="Steps.StepTables"/>.
    /// </param>
    public void Launch(KernelFunction function, Grid grid, params ReadOnlySpan<KernelArgument> arguments)
    {
        LaunchPostponed();
        if (grid.IsEmpty)
        {
            return;
        }

        _beforeOperation?.Invoke();
        _gathered.Add(function, grid, arguments);
        if (_isGathering)
        {
            return;
        }

        try
        {
            LaunchList.Launch(_gathered.Words, _stream);
        }
        finally
        {
            // A launch that failed must not be tried again with the next one.
            _gathered.Clear();
        }
    }

    /// <summary>Launches what was gathered.</summary>
    public void Flush()
    {
        LaunchPostponed();
        _isGathering = false;
        if (_gathered.IsEmpty)
        {
            return;
        }

        try
        {
            _graphs.Launch(_gathered, _stream);
        }
        finally
        {
            _gathered.Clear();
        }
    }

    /// <summary>The stream, for work that is no kernel launch: it comes after everything launched so far.</summary>
    public CudaStream Stream()
    {
        Flush();
        return _stream;
    }

    /// <summary>Forgets what was gathered and waits for the rest, before memory is freed.</summary>
    public void Drop()
    {
        _isGathering = false;
        _postponed = null;
        _gathered.Clear();
        _stream.Finish();
    }

    public void Dispose()
    {
        _graphs.Dispose();
        _stream.Dispose();
    }

    /// <summary>Launches the operation that waits, if there is one.</summary>
    public void LaunchPostponed()
    {
        PostponedLaunch? launch = _postponed;
        _postponed = null;
        launch?.Launch();
    }
}
