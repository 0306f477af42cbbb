namespace InferenceServer.Cli.Comparison;

/// <summary>A row: a contender at the learning rate that suits it best.</summary>
/// <param name="Contender">What was trained.</param>
/// <param name="Best">The trial with the lowest held-out loss; a failed one where none succeeded.</param>
internal sealed record TunedContender(Contender Contender, Trial Best);
