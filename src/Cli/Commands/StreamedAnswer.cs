using System.Text;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Cli.Commands;

/// <summary>Prints an answer while it comes.</summary>
internal static class StreamedAnswer
{
    /// <summary>Prints every message and returns the whole text.</summary>
    /// <param name="session">Where it goes, and in which form.</param>
    /// <param name="answer">The stream of the server.</param>
    /// <param name="usage">Where the closing figures go; null for none.</param>
    public static async Task<string> PrintAsync(Session session, IAsyncEnumerable<GenerateResponse> answer, TextWriter? usage)
    {
        StringBuilder whole = new();
        GenerateResponse last = new();
        try
        {
            await foreach (GenerateResponse message in answer)
            {
                last = message;
                whole.Append(message.Text);
                if (session.Json)
                {
                    session.WriteJsonLine(message);
                }
                else if (message.Text.Length > 0)
                {
                    await session.Output.WriteAsync(message.Text);
                    await session.Output.FlushAsync();
                }
            }
        }
        finally
        {
            if (!session.Json)
            {
                await session.Output.WriteLineAsync();
            }
        }

        if (usage is not null && last.Usage is { } used)
        {
            await usage.WriteLineAsync(Figures(used, last.FinishReason));
        }

        return whole.ToString();
    }

    private static string Figures(Usage used, FinishReason reason)
    {
        double decoding = used.TotalSeconds - used.TimeToFirstTokenSeconds;
        string rate = used.CompletionTokens > 1 && decoding > 0 ? $", {(used.CompletionTokens - 1) / decoding:0.#} tokens/s" : "";
        return $"{used.PromptTokens} prompt tokens ({used.CachedTokens} cached), {used.CompletionTokens} new, "
            + $"ended by {reason.ToString().ToLowerInvariant()}; queued {used.QueueSeconds:0.###} s, "
            + $"first token after {used.TimeToFirstTokenSeconds:0.###} s, total {used.TotalSeconds:0.###} s{rate}";
    }
}
