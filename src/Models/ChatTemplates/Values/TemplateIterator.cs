namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>
/// What Python's generators look like to a template: true, without a length, made when first read (what fails, fails then), and empty
/// once read.
/// </summary>
internal sealed class TemplateIterator(Func<object?[]> make)
{
    private object?[]? _items;
    private int _next;

    public object?[] TakeAll()
    {
        object?[] items = _items ??= make();
        object?[] rest = _next == 0 ? items : items[_next..];
        _next = items.Length;
        return rest;
    }

    public bool TryTakeOne(out object? item)
    {
        object?[] items = _items ??= make();
        bool any = _next < items.Length;
        item = any ? items[_next++] : null;
        return any;
    }
}
