using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>Rows and columns by index, and sums over rows.</summary>
public abstract class TableTrainingConformance : TrainingConformance
{
    [Theory]
    [InlineData(7)]
    [InlineData(1030)]
    public void Rows_and_columns_are_gathered_and_scattered_in_order(int width)
    {
        int[] tokens = [4, 0, 4, 2, 4, 0];
        HostTensor table = HostTensor.Random(5, width, 1);
        HostTensor dy = HostTensor.Random(tokens.Length, width, 2);
        HostTensor old = HostTensor.Random(5, width, 3);
        using GuardedTensor rows = Put(table);
        using GuardedTensor columns = Put(Turned(table));
        using GuardedTensor byRow = new(Backend, tokens.Length, width);
        using GuardedTensor byColumn = new(Backend, tokens.Length, width);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor drows = Put(old);
        using GuardedTensor dcolumns = Put(Turned(old));

        Training.GatherRows(rows.View, tokens, byRow.View);
        Training.GatherColumns(columns.View, tokens, byColumn.View);
        Training.ScatterRows(gradient.View, tokens, drows.View);
        Training.ScatterColumns(gradient.View, tokens, dcolumns.View);

        float[] picked = [.. tokens.SelectMany(token => table.Row(token).ToArray())];
        Closeness.AssertSameBits(picked, byRow.Read(), "rows");
        Closeness.AssertSameBits(picked, byColumn.Read(), "columns");
        HostTensor expected = old.Slice(0, 5);
        for (int t = 0; t < tokens.Length; t++)
        {
            for (int i = 0; i < width; i++)
            {
                expected[tokens[t], i] += dy[t, i];
            }
        }

        Closeness.AssertSameBits(expected.Values, drows.Read(), "scattered rows");
        Closeness.AssertSameBits(Turned(expected).Values, dcolumns.Read(), "scattered columns");
    }

    [Fact]
    public void Many_indices_are_sorted_by_what_they_name()
    {
        int[] tokens = [.. Enumerable.Range(0, 500).Select(t => t * 7919 % 91)];
        HostTensor dy = HostTensor.Random(tokens.Length, 3, 1);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor dtable = Put(new HostTensor(97, 3));

        Training.ScatterRows(gradient.View, tokens, dtable.View);

        HostTensor expected = new(97, 3);
        for (int t = 0; t < tokens.Length; t++)
        {
            for (int i = 0; i < 3; i++)
            {
                expected[tokens[t], i] += dy[t, i];
            }
        }

        Closeness.AssertSameBits(expected.Values, dtable.Read(), "scattered");
    }

    [Fact]
    public void No_indices_are_no_work_and_wrong_ones_are_refused()
    {
        using GuardedTensor table = Put(HostTensor.Random(5, 4, 1));
        using GuardedTensor none = new(Backend, 0, 4);
        using GuardedTensor one = new(Backend, 1, 4);

        Training.GatherRows(table.View, [], none.View);
        Training.ScatterRows(none.View, [], table.View);

        Closeness.AssertSameBits(HostTensor.Random(5, 4, 1).Values, table.Read(), "table");
        Assert.Throws<ArgumentException>(() => Training.GatherRows(table.View, [5], one.View));
        Assert.Throws<ArgumentException>(() => Training.ScatterRows(one.View, [-1], table.View));
        Assert.Throws<ArgumentException>(() => Training.GatherColumns(table.View, [0], one.View));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(9, 131)]
    [InlineData(600, 33)]
    public void Columns_are_summed(int rows, int columns)
    {
        HostTensor x = HostTensor.Random(rows, columns, 1);
        HostTensor z = HostTensor.Random(rows, columns, 2);
        HostTensor old = HostTensor.Random(1, columns, 3);
        using GuardedTensor left = Put(x);
        using GuardedTensor right = Put(z);
        using GuardedTensor sums = Put(old);
        using GuardedTensor products = Put(old);

        Training.AddColumnSums(left.View, null, sums.View);
        Training.AddColumnSums(left.View, right.View, products.View);

        double[] expectedSums = [.. Enumerable.Range(0, columns).Select(h => old[0, h] + Enumerable.Range(0, rows).Sum(t => (double)x[t, h]))];
        double[] expectedProducts = [.. Enumerable.Range(0, columns).Select(h => old[0, h] + Enumerable.Range(0, rows).Sum(t => (double)x[t, h] * z[t, h]))];
        Closeness.AssertClose(expectedSums, sums.Read(), 1e-6, "sums");
        Closeness.AssertClose(expectedProducts, products.Read(), 1e-6, "products");
    }
}
