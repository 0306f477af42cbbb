namespace InferenceServer.Engine.KvBlocks;

/// <summary>One adapter of a stack: which bytes, and how strongly.</summary>
public readonly record struct StackedAdapter(string Name, string Digest, float Weight);
