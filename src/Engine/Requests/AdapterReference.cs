namespace InferenceServer.Engine.Requests;

/// <summary>An adapter as a request names it.</summary>
/// <param name="Name">"name" for the current version, or "name@digest".</param>
/// <param name="Weight">Factor of its change; 1 for a plain request.</param>
public sealed record AdapterReference(string Name, float Weight = 1f);
