using InferenceServer.AdapterStore;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>One adapter of a stack: which version, and how strongly.</summary>
public readonly record struct StackedAdapter(AdapterId Id, float Weight);
