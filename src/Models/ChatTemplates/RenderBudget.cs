using System.Runtime.CompilerServices;

namespace InferenceServer.Models.ChatTemplates;

/// <summary>Counts what one rendering uses and stops it at the limits.</summary>
internal sealed class RenderBudget(ChatTemplateLimits limits, CancellationToken cancellationToken)
{
    private const int StepsPerCancellationCheck = 4096;
    private const int BytesPerItem = 40;
    private const int BytesPerEntry = 120;

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

    /// <summary>Counts a search for a part in a text, which takes length times length at worst.</summary>
    public void Search(string text, string part)
    {
        Scan(text.Length);
        Step((long)Math.Max(0, text.Length - part.Length) * part.Length >> 10);
    }

    /// <summary>Counts characters about to be built.</summary>
    public void Allocate(long chars)
    {
        AllocateBytes(chars * sizeof(char));
        Scan(chars);
    }

    /// <summary>Counts places of lists about to be built, with the small values in them.</summary>
    public void AllocateItems(long count) => AllocateBytes(count * BytesPerItem);

    /// <summary>Counts entries of dictionaries about to be built.</summary>
    public void AllocateEntries(long count) => AllocateBytes(count * BytesPerEntry);

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

    private void AllocateBytes(long bytes)
    {
        _allocated += bytes;
        if (_allocated > limits.MaxAllocatedBytes)
        {
            throw new ChatTemplateException($"rendering builds more than {limits.MaxAllocatedBytes} bytes (MaxAllocatedBytes)");
        }
    }
}
