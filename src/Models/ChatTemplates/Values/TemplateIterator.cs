namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>What Python's generators look like to a template: true, without a length, and empty once read.</summary>
internal sealed class TemplateIterator(object?[] items)
{
    private int _next;

    public object?[] TakeAll()
    {
        object?[] rest = _next == 0 ? items : items[_next..];
        _next = items.Length;
        return rest;
    }

    public bool TryTakeOne(out object? item)
    {
        bool any = _next < items.Length;
        item = any ? items[_next++] : null;
        return any;
    }
}
