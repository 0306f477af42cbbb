namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>Lets several ways take turns, there and back, and compares them round by round: a device is not as fast in the next minute.</summary>
internal sealed class Alternation
{
    private readonly Dictionary<string, List<double>> _samples = new(StringComparer.Ordinal);
    private readonly (string Name, Func<Task<double>> Measure)[] _ways;

    /// <param name="ways">Each measures one slice: a rate, more is better.</param>
    public Alternation(params (string Name, Func<Task<double>> Measure)[] ways)
    {
        _ways = ways;
        foreach ((string name, _) in ways)
        {
            _samples[name] = [];
        }
    }

    /// <summary>Whole rounds done.</summary>
    public int Rounds { get; private set; }

    /// <summary>One slice of each that is not recorded, then rounds: at least one, and no new one once the time is over.</summary>
    public async Task RunAsync(int rounds, Func<bool> goesOn)
    {
        foreach ((_, Func<Task<double>> measure) in _ways)
        {
            await measure();
        }

        for (int round = 0; round < rounds && (round == 0 || goesOn()); round++)
        {
            foreach ((string name, Func<Task<double>> measure) in round % 2 == 0 ? _ways : _ways.Reverse())
            {
                _samples[name].Add(await measure());
            }

            Rounds++;
        }
    }

    public double Median(string name) => Statistics.Median(_samples[name]);

    public double Best(string name) => _samples[name].Max();

    /// <summary>Median over the rounds of one over the other.</summary>
    public double Ratio(string name, string other) => Statistics.Median(_samples[name].Zip(_samples[other], (one, second) => one / second));
}
