namespace InferenceServer.AdapterStore.Catalog;

/// <summary>Something that the catalog found wrong and put aside; it is not served.</summary>
/// <param name="Subject">Adapter name, name@digest or path.</param>
/// <param name="Reason">What is wrong and where it is now.</param>
public sealed record CatalogProblem(string Subject, string Reason);
