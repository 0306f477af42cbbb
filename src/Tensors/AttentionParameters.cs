namespace InferenceServer.Tensors;

/// <summary>What varies between architectures in one attention layer.</summary>
/// <param name="Heads">Query heads Q.</param>
/// <param name="KvHeads">Key/value heads K; Q is a multiple of it.</param>
/// <param name="HeadSize">Elements a head D.</param>
/// <param name="Scale">Factor of the scores, usually 1/sqrt(D).</param>
/// <param name="SoftCap">Scores become <c>cap * tanh(score / cap)</c> before masking; 0 for none (Gemma 2).</param>
/// <param name="Window">Key j is visible to query i when <c>i - Window &lt; j &lt;= i</c>; 0 for no window (Mistral, Gemma 2).</param>
public sealed record AttentionParameters(int Heads, int KvHeads, int HeadSize, float Scale, float SoftCap, int Window);
