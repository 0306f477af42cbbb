namespace InferenceServer.Training.Methods;

/// <summary>How far a method moves the rows of its module's output.</summary>
internal sealed class OutputMeter
{
    private double _squares;
    private long _rows;

    /// <summary>Mean over the rows of <c>|dy|^2</c>; 0 without rows.</summary>
    public double MeanSquare => _rows == 0 ? 0 : _squares / _rows;

    /// <param name="squares">Sum of the squares of what was added to the rows.</param>
    /// <param name="rows">Their number.</param>
    public void Add(double squares, int rows)
    {
        _squares += squares;
        _rows += rows;
    }
}
