namespace InferenceServer.Training.Data;

/// <summary>Where a sample was read, to be named by errors.</summary>
internal readonly record struct SampleLocation(string File, int Line)
{
    public DatasetException Wrong(string? field, string reason, Exception? inner = null) => new(File, Line, field, reason, inner);
}
