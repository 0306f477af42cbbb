using System.Runtime.CompilerServices;

namespace InferenceServer.Models.ChatTemplates;

/// <summary>Counts what one rendering uses and stops it at the limits.</summary>
internal sealed class RenderBudget(ChatTemplateLimits limits, CancellationToken cancellationToken)
{
    private const int StepsPerCancellationCheck = 4096;

    private long _steps;
    private long _nextCancellationCheck = StepsPerCancellationCheck;
    private long _allocated;

    public ChatTemplateLimits Limits => limits;

    /// <summary>Counts one evaluated node; the stack is checked here, since every recursion passes here.</summary>
    public void Enter()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw new ChatTemplateException("the template is nested too deeply");
        }

        Step(1);
    }

    public void Step(long count)
    {
        _steps += count;
        if (_steps > limits.MaxSteps)
        {
            throw new ChatTemplateException($"rendering takes more than {limits.MaxSteps} steps (MaxSteps)");
        }

        if (_steps >= _nextCancellationCheck)
        {
            _nextCancellationCheck = _steps + StepsPerCancellationCheck;
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Counts characters that are looked through: far cheaper than a step, but not free.</summary>
    public void Scan(long chars) => Step(chars >> 5);

    /// <summary>Counts characters or list items about to be built.</summary>
    public void Allocate(long units)
    {
        _allocated += units;
        if (_allocated > limits.MaxAllocatedUnits)
        {
            throw new ChatTemplateException($"rendering builds more than {limits.MaxAllocatedUnits} characters and items (MaxAllocatedUnits)");
        }

        Scan(units);
    }

    /// <summary>Counts a string that is about to be given to the template.</summary>
    public string Own(string text)
    {
        Allocate(text.Length);
        return text;
    }

    public void CheckValueDepth(int depth)
    {
        if (depth > limits.MaxValueDepth)
        {
            throw new ChatTemplateException($"a value is nested more than {limits.MaxValueDepth} deep (MaxValueDepth)");
        }
    }
}
