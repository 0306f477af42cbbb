using System.Runtime.CompilerServices;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using InferenceServer.Models.Tokenization;

namespace InferenceServer.Engine.Streaming;

/// <summary>
/// What a caller reads of its generation. The loop writes tokens into the sequence's own memory and never waits for a reader; a reader
/// that lags gets several tokens in one chunk. Text is made here, on the reader's thread. Disposing cancels what is still running.
/// </summary>
public sealed class GenerationStream : IAsyncDisposable
{
    private readonly Generation _generation;
    private readonly Tokenizer? _tokenizer;
    private readonly TimeProvider _time;
    private readonly Action<Generation> _cancel;
    private int _readers;

    internal GenerationStream(Generation generation, IReadOnlyList<string> adapterIds, Tokenizer? tokenizer, TimeProvider time, Action<Generation> cancel)
    {
        _generation = generation;
        _tokenizer = tokenizer;
        _time = time;
        _cancel = cancel;
        AdapterIds = adapterIds;
    }

    public string RequestId => _generation.Request.RequestId;

    /// <summary>name@digest of the adapters that serve it, in order; empty for the base model.</summary>
    public IReadOnlyList<string> AdapterIds { get; }

    public int PromptTokens => _generation.PromptLength;

    /// <summary>The seed in use.</summary>
    public ulong Seed => _generation.Sampling.Seed;

    /// <summary>Completes, without an exception, when the engine is done with the generation and its adapters are free.</summary>
    public Task Completion => _generation.Completion;

    /// <summary>Reads to the end, once. The last chunk has a finish reason and the usage.</summary>
    /// <param name="cancellationToken">Cancels the generation too.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="DeadlineExpiredException">Its deadline passed.</exception>
    /// <exception cref="GenerationFailedException">The engine could not go on with it.</exception>
    public async IAsyncEnumerable<GenerationChunk> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _readers, 1) != 0)
        {
            throw new InvalidOperationException($"generation '{RequestId}' is read a second time");
        }

        TextAssembler text = new(_tokenizer, _generation.Request);
        int read = _generation.PromptLength;
        using CancellationTokenRegistration registration = cancellationToken.Register(static signal => ((TokenSignal)signal!).Set(), _generation.Signal);
        while (true)
        {
            if (cancellationToken.IsCancellationRequested)
            {
                _cancel(_generation);
                cancellationToken.ThrowIfCancellationRequested();
            }

            // In this order: once it has ended no token follows.
            bool isEnded = _generation.IsEnded;
            int available = _generation.TokenCount;
            bool isComplete = IsComplete(available);
            if (isComplete && !isEnded)
            {
                // The loop is about to end it; the last tokens go out together with the finish reason.
                await _generation.Signal.WaitAsync();
                continue;
            }

            if (available > read || isComplete)
            {
                GenerationChunk chunk = Assemble(text, read, available, isComplete);
                if (chunk.FinishReason != FinishReason.None)
                {
                    if (!isEnded)
                    {
                        _cancel(_generation);
                    }

                    yield return chunk;
                    yield break;
                }

                read = available;
                yield return chunk;
                continue;
            }

            if (isEnded)
            {
                throw _generation.Error!;
            }

            await _generation.Signal.WaitAsync();
        }
    }

    /// <summary>Cancels the generation when it has not ended, and waits until its adapters are free.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_generation.IsEnded)
        {
            _cancel(_generation);
        }

        await _generation.Completion;
    }

    private bool IsComplete(int available)
    {
        int count = available - _generation.PromptLength;
        return count > 0 && (count == _generation.MaxNewTokens || _generation.IsEnd(_generation.Tokens[available - 1], count));
    }

    private GenerationChunk Assemble(TextAssembler text, int read, int available, bool isComplete)
    {
        List<int> tokens = new(available - read);
        List<TokenLogprobs> logprobs = [];
        System.Text.StringBuilder builder = new();
        FinishReason reason = isComplete ? _generation.FinishReason : FinishReason.None;
        string stopReason = "";
        for (int i = read; i < available && text.StopFound is null; i++)
        {
            int token = _generation.Tokens[i];
            int number = i - _generation.PromptLength + 1;
            tokens.Add(token);
            if (_generation.Logprobs is not null)
            {
                logprobs.Add(_generation.Logprobs.Read(number - 1));
            }

            if (_generation.IsEnd(token, number))
            {
                stopReason = _tokenizer?.IdToToken(token) ?? "";
            }
            else
            {
                builder.Append(text.Append(token, number));
            }
        }

        if (isComplete && text.StopFound is null)
        {
            builder.Append(text.Flush());
        }

        if (text.StopFound is not null)
        {
            reason = FinishReason.Stop;
            stopReason = text.StopFound;
        }

        return new GenerationChunk
        {
            TokenIds = tokens,
            Text = _generation.Request.OmitText ? "" : builder.ToString(),
            Logprobs = logprobs,
            FinishReason = reason,
            StopReason = stopReason,
            Usage = reason == FinishReason.None ? null : Usage(read + tokens.Count - _generation.PromptLength),
        };
    }

    private GenerationUsage Usage(int completionTokens)
    {
        long end = _generation.IsEnded ? _generation.End : _time.GetTimestamp();
        return new GenerationUsage(
            _generation.PromptLength,
            completionTokens,
            _generation.CachedPromptTokens,
            _time.GetElapsedTime(_generation.Arrival, _generation.FirstStep),
            _time.GetElapsedTime(_generation.Arrival, _generation.FirstToken),
            _time.GetElapsedTime(_generation.Arrival, end));
    }
}
