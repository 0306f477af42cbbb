namespace InferenceServer.Cli.Comparison;

/// <summary>Does one job of a comparison.</summary>
internal interface ITrialRunner
{
    /// <summary>Trains to the end. A job that fails is a trial with an error; an exception means that nothing can be said.</summary>
    /// <param name="contender">What to train.</param>
    /// <param name="rate">At which learning rate.</param>
    /// <param name="job">A job that was started for this already; null for none.</param>
    /// <param name="began">Told the job's id once it is started.</param>
    /// <param name="cancellationToken">Stops waiting; the job goes on.</param>
    Task<Trial> RunAsync(Contender contender, double rate, string? job, Action<string> began, CancellationToken cancellationToken);
}
