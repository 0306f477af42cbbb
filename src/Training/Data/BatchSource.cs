namespace InferenceServer.Training.Data;

/// <summary>
/// Gives out a data set as batches, again and again: every epoch each sample once, in an order drawn from the seed and the epoch.
/// Samples are packed one behind the other up to a budget of tokens, each a sequence of its own, so that there is no padding and none
/// sees another.
/// </summary>
public sealed class BatchSource
{
    private readonly Dataset _dataset;
    private readonly int _maxBatchTokens;
    private readonly int _maxSequences;
    private readonly int? _seed;
    private List<SupervisedBatch> _batches;
    private DataPosition _position;

    /// <param name="dataset">The samples.</param>
    /// <param name="maxBatchTokens">Most tokens of a batch.</param>
    /// <param name="maxSequences">Most samples of a batch.</param>
    /// <param name="seed">Of the orders; null keeps the order of the set.</param>
    /// <exception cref="ArgumentException">The set is empty, or a sample is longer than a batch may be.</exception>
    public BatchSource(Dataset dataset, int maxBatchTokens, int maxSequences, int? seed)
    {
        ArgumentNullException.ThrowIfNull(dataset);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxSequences, 1);
        if (dataset.Samples.Count == 0)
        {
            throw new ArgumentException("the set is empty");
        }

        int longest = dataset.Samples.Max(sample => sample.Tokens.Length);
        if (longest > maxBatchTokens)
        {
            throw new ArgumentException($"a sample of {longest} tokens exceeds MaxBatchTokens {maxBatchTokens}");
        }

        _dataset = dataset;
        _maxBatchTokens = maxBatchTokens;
        _maxSequences = maxSequences;
        _seed = seed;
        _batches = Pack(0);
    }

    /// <summary>The batch to come; setting it goes on from there, with the same batches as then.</summary>
    /// <exception cref="ArgumentException">The epoch has fewer batches: this is another set, budget or seed.</exception>
    public DataPosition Position
    {
        get => _position;
        set
        {
            List<SupervisedBatch> batches = value.Epoch >= 0 ? Pack(value.Epoch) : [];
            if (value.Batch < 0 || value.Batch >= batches.Count)
            {
                throw new ArgumentException($"epoch {value.Epoch} has no batch {value.Batch}, only {batches.Count}");
            }

            _batches = batches;
            _position = value;
        }
    }

    /// <summary>Batches of the epoch at hand.</summary>
    public int EpochBatches => _batches.Count;

    /// <summary>The batches of the epoch at hand, from its start.</summary>
    public IReadOnlyList<SupervisedBatch> Batches => _batches;

    /// <summary>The next batch; after an epoch's last one comes the next epoch's first.</summary>
    public SupervisedBatch Next()
    {
        SupervisedBatch batch = _batches[_position.Batch];
        if (_position.Batch + 1 < _batches.Count)
        {
            _position = _position with { Batch = _position.Batch + 1 };
        }
        else
        {
            _position = new DataPosition(_position.Epoch + 1, 0);
            _batches = _seed is null ? _batches : Pack(_position.Epoch);
        }

        return batch;
    }

    private List<SupervisedBatch> Pack(int epoch)
    {
        int count = _dataset.Samples.Count;

        // Epoch numbers begin at 1 here, so that the held-out split, which draws with 0, has an order of its own.
        IEnumerable<int> order = _seed is { } seed ? Permutation.Create(count, seed, epoch + 1) : Enumerable.Range(0, count);
        List<SupervisedBatch> batches = [];
        List<SupervisedSequence> packed = [];
        int tokens = 0;
        foreach (SupervisedSequence sample in order.Select(index => _dataset.Samples[index]))
        {
            if (packed.Count == _maxSequences || tokens + sample.Tokens.Length > _maxBatchTokens)
            {
                batches.Add(new SupervisedBatch(packed));
                packed = [];
                tokens = 0;
            }

            packed.Add(sample);
            tokens += sample.Tokens.Length;
        }

        batches.Add(new SupervisedBatch(packed));
        return batches;
    }
}
