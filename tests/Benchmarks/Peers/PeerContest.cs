namespace InferenceServer.Benchmarks.Peers;

/// <summary>One kind of work and how each side does it.</summary>
/// <param name="Work">Its name in the results.</param>
/// <param name="Ours">Repeats it so many times; tokens per second of each.</param>
/// <param name="Theirs">The same of llama.cpp.</param>
/// <param name="TheirProcess">The process that computes for them; null when they start one for each slice.</param>
internal sealed record PeerContest(string Work, Func<int, Task<double[]>> Ours, Func<int, Task<double[]>> Theirs, int? TheirProcess);
