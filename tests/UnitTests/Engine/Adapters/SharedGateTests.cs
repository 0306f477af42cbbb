using InferenceServer.Engine.Adapters;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Adapters;

public sealed class SharedGateTests
{
    [Fact]
    public async Task Many_are_inside_together_and_one_is_alone()
    {
        SharedGate gate = new();
        await Enter(gate, alone: false);
        await Enter(gate, alone: false);

        Task alone = Enter(gate, alone: true);
        Assert.False(alone.IsCompleted);
        gate.Leave();
        Assert.False(alone.IsCompleted);
        gate.Leave();
        await alone.WaitAsync(EngineHost.Patience);
    }

    [Fact]
    public async Task Nobody_passes_one_that_waits_to_be_alone()
    {
        SharedGate gate = new();
        Task inside = Enter(gate, alone: false);
        Task alone = Enter(gate, alone: true);
        Task late = Enter(gate, alone: false);
        Task later = Enter(gate, alone: false);
        await inside.WaitAsync(EngineHost.Patience);
        Assert.False(late.IsCompleted);

        gate.Leave();
        await alone.WaitAsync(EngineHost.Patience);
        Assert.False(late.IsCompleted);

        gate.Leave();
        await Task.WhenAll(late, later).WaitAsync(EngineHost.Patience);
    }

    [Fact]
    public async Task One_that_gives_up_lets_those_behind_it_in()
    {
        SharedGate gate = new();
        using CancellationTokenSource cancel = new();
        await Enter(gate, alone: false);
        Task alone = gate.EnterAsync(alone: true, cancel.Token).AsTask();
        Task late = Enter(gate, alone: false);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => alone);
        await late.WaitAsync(EngineHost.Patience);
        gate.Leave();
        gate.Leave();
        await Enter(gate, alone: true).WaitAsync(EngineHost.Patience);
    }

    private static Task Enter(SharedGate gate, bool alone) => gate.EnterAsync(alone, CancellationToken.None).AsTask();
}
