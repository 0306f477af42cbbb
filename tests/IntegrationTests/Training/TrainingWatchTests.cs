using Grpc.Core;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.IntegrationTests.Training;

/// <summary>Watching: from any event on, each once, and nobody waits for who watches.</summary>
[Trait("Category", "Training")]
public sealed class TrainingWatchTests(TrainingBase tiny) : IClassFixture<TrainingBase>
{
    [Fact]
    public async Task A_watch_that_is_cut_and_taken_up_again_sees_each_event_once()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingService.TrainingServiceClient raw = new(server.Channel);
        string id = (await server.Client.Training.StartAsync(JobSpecs.Plain("pupil", 80), JobSpecs.Data())).Id;

        List<TrainingEvent> pieces = [];
        bool isCut = true;
        for (int length = 1; isCut; length += 7)
        {
            using AsyncServerStreamingCall<TrainingEvent> call =
                raw.Watch(new WatchTrainingRequest { Job = id, AfterEvent = pieces.Count == 0 ? 0 : pieces[^1].Number });
            int left = length;
            while (left > 0 && await call.ResponseStream.MoveNext(CancellationToken.None))
            {
                pieces.Add(call.ResponseStream.Current);
                left--;
            }

            isCut = left == 0;
        }

        List<TrainingEvent> whole = await server.Client.Training.WatchAsync(id).ToListAsync();
        Assert.Equal(whole, pieces);
        Assert.Equal((await server.Client.Training.GetAsync(id)).LastEvent, pieces[^1].Number);
        Assert.Equal(TrainingState.Completed, pieces[^1].State);
    }

    [Fact]
    public async Task A_watcher_that_does_not_read_delays_nobody()
    {
        await using RunningServer server = await tiny.ServeAsync();
        TrainingService.TrainingServiceClient raw = new(server.Channel);
        string id = (await server.Client.Training.StartAsync(JobSpecs.Plain("pupil", 60), JobSpecs.Data())).Id;
        using AsyncServerStreamingCall<TrainingEvent> lazy = raw.Watch(new WatchTrainingRequest { Job = id });

        await Jobs.FinishAsync(server.Client.Training, id);

        List<TrainingEvent> late = await lazy.ResponseStream.ReadAllAsync().ToListAsync();
        Assert.Equal(await server.Client.Training.WatchAsync(id).ToListAsync(), late);
    }

    [Fact]
    public async Task A_watch_ends_with_the_server_and_goes_on_with_the_next()
    {
        using TemporaryFolder data = new();
        List<TrainingEvent> seen = [];
        string id;
        await using (RunningServer server = await tiny.ServeOnAsync(data.Path))
        {
            TrainingService.TrainingServiceClient raw = new(server.Channel);
            id = (await server.Client.Training.StartAsync(JobSpecs.Plain("pupil", 120), JobSpecs.Data())).Id;
            using AsyncServerStreamingCall<TrainingEvent> call = raw.Watch(new WatchTrainingRequest { Job = id });
            while (seen.Count < 20 && await call.ResponseStream.MoveNext(CancellationToken.None))
            {
                seen.Add(call.ResponseStream.Current);
            }

            Task stopping = server.Host.StopAsync();
            RpcException error = await Assert.ThrowsAsync<RpcException>(async () =>
            {
                while (await call.ResponseStream.MoveNext(CancellationToken.None))
                {
                    seen.Add(call.ResponseStream.Current);
                }
            });
            Assert.Equal(StatusCode.Unavailable, error.StatusCode);
            await stopping;
        }

        await using RunningServer next = await tiny.ServeOnAsync(data.Path);
        seen.AddRange(await next.Client.Training.WatchAsync(id, seen[^1].Number).ToListAsync());

        Assert.Equal(Enumerable.Range(1, seen.Count).Select(number => (long)number), seen.Select(happened => happened.Number));
        Assert.Equal(
            Enumerable.Range(1, 120), seen.Where(happened => happened.StepDone is not null).Select(happened => happened.Step));
        Assert.Equal(TrainingState.Completed, seen[^1].State);
    }
}
