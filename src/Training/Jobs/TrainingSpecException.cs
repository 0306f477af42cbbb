using System.Diagnostics.CodeAnalysis;

namespace InferenceServer.Training.Jobs;

/// <summary>A job that cannot be done as it was asked for; the message names the field, its value and the limit.</summary>
public sealed class TrainingSpecException : Exception
{
    /// <param name="field">As the protocol names it, for example <c>optimizer.learning_rate</c>.</param>
    /// <param name="reason">Value and limit.</param>
    /// <param name="inner">The cause, if another exception told.</param>
    public TrainingSpecException(string field, string reason, Exception? inner = null)
        : base($"{field}: {reason}", inner) => Field = field;

    /// <summary>The field that is wrong.</summary>
    public string Field { get; }

    internal static void Require([DoesNotReturnIf(false)] bool holds, string field, double value, string limit)
    {
        if (!holds)
        {
            throw new TrainingSpecException(field, FormattableString.Invariant($"{value} has to be {limit}"));
        }
    }
}
