using System.Diagnostics;
using InferenceServer.Training.Runs;

namespace InferenceServer.Demo.Making;

/// <summary>Prints what a run does, a line every so many steps.</summary>
internal sealed class Progress(TextWriter output, string name, int interval)
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private double _loss;
    private double _tokensPerSecond;
    private int _steps;

    /// <summary>Since it was made.</summary>
    public double Seconds => Stopwatch.GetElapsedTime(_start).TotalSeconds;

    public void Tell(TrainingEvent happened)
    {
        switch (happened)
        {
            case StepDone step:
                _loss += step.Loss;
                _tokensPerSecond += step.TokensPerSecond;
                if (++_steps == interval)
                {
                    Line($"{name}: step {step.Step}, loss {_loss / _steps:F4}, {_tokensPerSecond / _steps:F0} tokens/s, {step.TimeLeft:mm\\:ss} left");
                    (_loss, _tokensPerSecond, _steps) = (0, 0, 0);
                }

                break;
            case Evaluated evaluation:
                Line($"{name}: step {evaluation.Step}, held-out loss {evaluation.Loss:F4}");
                break;
        }
    }

    private void Line(FormattableString text)
    {
        output.WriteLine(FormattableString.Invariant(text));
        output.Flush();
    }
}
