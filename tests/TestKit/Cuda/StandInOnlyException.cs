namespace InferenceServer.TestKit.Cuda;

/// <summary>A test asks for what only the stand-in has (counters, schedules, planted failures) while tests run on a device.</summary>
public sealed class StandInOnlyException(string what) : Exception($"{what} is the stand-in's alone, and this is a device");
