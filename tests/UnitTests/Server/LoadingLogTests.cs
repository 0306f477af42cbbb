using InferenceServer.Models.PackedWeights;
using InferenceServer.Models.Transformer;
using InferenceServer.Server.Hosting;
using InferenceServer.UnitTests.Engine;
using Microsoft.Extensions.Logging;
using Xunit;

namespace InferenceServer.UnitTests.Server;

public sealed class LoadingLogTests
{
    private readonly LineLogger _log = new();

    [Fact]
    public void Progress_is_told_once_a_second_with_its_rate()
    {
        ManualTime time = new();
        LoadingLog progress = new(_log, time);

        progress.Report(new LoadProgress(100 << 20, 1, 10));
        time.Advance(TimeSpan.FromSeconds(0.9));
        progress.Report(new LoadProgress(200 << 20, 2, 10));
        time.Advance(TimeSpan.FromSeconds(1.1));
        progress.Report(new LoadProgress(300 << 20, 3, 10));
        time.Advance(TimeSpan.FromSeconds(0.5));
        progress.Report(new LoadProgress(400 << 20, 4, 10));
        time.Advance(TimeSpan.FromSeconds(0.5));
        progress.Report(new LoadProgress(600 << 20, 5, 10));

        Assert.Equal(
            ["Loading: 3 of 10 modules, 300 MiB on the device, 150 MiB/s", "Loading: 5 of 10 modules, 600 MiB on the device, 200 MiB/s"],
            _log.Lines);
    }

    [Theory]
    [InlineData(PackedCacheEventKind.Used, LogLevel.Information)]
    [InlineData(PackedCacheEventKind.Saved, LogLevel.Information)]
    [InlineData(PackedCacheEventKind.Evicted, LogLevel.Information)]
    [InlineData(PackedCacheEventKind.Refused, LogLevel.Warning)]
    [InlineData(PackedCacheEventKind.NotSaved, LogLevel.Warning)]
    public void Trouble_with_packed_weights_is_a_warning_and_names_file_and_cause(PackedCacheEventKind kind, LogLevel level)
    {
        new PackedCacheLog(_log).Report(new PackedCacheEvent(kind, "/data/packed/x.packed", "the cause"));

        string line = Assert.Single(_log.Lines);
        Assert.Contains("/data/packed/x.packed", line, StringComparison.Ordinal);
        Assert.Contains("the cause", line, StringComparison.Ordinal);
        Assert.Equal(level, Assert.Single(_log.Levels));
    }

    private sealed class LineLogger : ILogger
    {
        public List<string> Lines { get; } = [];

        public List<LogLevel> Levels { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Lines.Add(formatter(state, exception));
            Levels.Add(logLevel);
        }
    }
}
