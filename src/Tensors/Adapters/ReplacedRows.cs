namespace InferenceServer.Tensors.Adapters;

/// <summary>Rows of a vocabulary-sized weight that an adapter replaces.</summary>
/// <param name="Tokens">Token ids, ascending, without repeats.</param>
/// <param name="Values">The new rows <c>[Tokens.Length, hidden]</c>, in the same order.</param>
public sealed record ReplacedRows(int[] Tokens, HostMatrix Values);
