using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>Keeps what a server logs as errors, for tests to look at.</summary>
public sealed class ErrorLog : ILoggerProvider, ILogger
{
    private readonly ConcurrentQueue<string> _entries = new();

    public IReadOnlyCollection<string> Entries => _entries;

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel))
        {
            _entries.Enqueue($"{formatter(state, exception)}: {exception?.Message}");
        }
    }

    public void Dispose()
    {
    }
}
