using System.Globalization;
using System.Text.Json;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Import;

/// <summary>The field router_config of a routed adapter; docs/ROUTED_ADAPTERS.md describes it.</summary>
internal sealed class RouterConfig
{
    /// <summary>Name of the field.</summary>
    public const string Field = "router_config";

    /// <summary>The member that an export has and a recipe has not.</summary>
    public const string BlockRanksField = Field + ".block_ranks";

    // Sharper or flatter than this a softmax of f32 scores is one block or all alike.
    private const double LowestTemperature = 1e-3;
    private const double HighestTemperature = 1e3;

    private RouterConfig(ConfigFields fields, AdapterLimits limits)
    {
        JsonElement router = fields.Find(Field)
            ?? throw new AdapterFormatException(ConfigFields.FileName, Field, "a JSON object with this peft_type", "nothing");
        JsonElement? adapters = null;
        JsonElement? ranks = null;
        JsonElement? topK = null;
        foreach ((string name, JsonElement value) in fields.Members(Field, router))
        {
            string path = $"{Field}.{name}";
            switch (name)
            {
                case "adapters":
                    adapters = value;
                    break;
                case "block_ranks":
                    ranks = value;
                    break;
                case "top_k":
                    topK = value.ValueKind == JsonValueKind.Null ? null : value;
                    break;
                case "temperature":
                    Temperature = TemperatureOf(path, value);
                    break;
                case "bias":
                    HasBias = Flag(path, value);
                    break;
                case "train_blocks":
                    TrainsBlocks = Flag(path, value);
                    break;
                default:
                    throw ConfigFields.Wrong(path, "no such field (it is not known and may change the results)", value);
            }
        }

        Adapters = ReadNames(adapters);
        TopK = topK is { } some ? Whole($"{Field}.top_k", some, 1, Adapters.Count, "the number of adapters") : Adapters.Count;
        BlockRanks = ranks is { } table ? ReadRanks(fields, table, limits) : null;
    }

    /// <summary>The adapters that were put together, in the order of the blocks.</summary>
    public IReadOnlyList<string> Adapters { get; }

    /// <summary>Ranks of each adapter's block by module path; null in a recipe, where the adapters themselves tell.</summary>
    public IReadOnlyDictionary<string, int[]>? BlockRanks { get; }

    /// <summary>Divides the gate's scores.</summary>
    public float Temperature { get; } = 1f;

    /// <summary>How many adapters take part in a row.</summary>
    public int TopK { get; }

    /// <summary>Whether the gates have a bias.</summary>
    public bool HasBias { get; }

    /// <summary>Training only: whether A and B are trained beside the gates.</summary>
    public bool TrainsBlocks { get; }

    public static RouterConfig Read(ConfigFields fields, AdapterLimits limits) => new(fields, limits);

    private static string[] ReadNames(JsonElement? value)
    {
        const string Path = Field + ".adapters";
        if (value is not { ValueKind: JsonValueKind.Array } list)
        {
            throw new AdapterFormatException(
                ConfigFields.FileName, Path, "a list of names", value is { } other ? AdapterFormatException.Shown(other.GetRawText()) : "nothing");
        }

        int count = list.GetArrayLength();
        if (count is < 2 or > RankGate.MaxBlocks)
        {
            throw new AdapterFormatException(
                ConfigFields.FileName, Path, $"from 2 to {RankGate.MaxBlocks} adapters", count.ToString(CultureInfo.InvariantCulture));
        }

        string[] names = [.. list.EnumerateArray().Select(item => ConfigFields.TextOf(Path, item))];
        foreach (string name in names)
        {
            if (!AdapterName.IsValid(name) || names.Count(other => other == name) > 1)
            {
                throw new AdapterFormatException(
                    ConfigFields.FileName, Path, "names of adapters, each once", $"'{AdapterFormatException.Shown(name)}'");
            }
        }

        return names;
    }

    private Dictionary<string, int[]> ReadRanks(ConfigFields fields, JsonElement table, AdapterLimits limits)
    {
        Dictionary<string, int[]> ranks = new(StringComparer.Ordinal);
        foreach ((string path, JsonElement value) in fields.Members(BlockRanksField, table))
        {
            string field = $"{BlockRanksField}.{path}";
            if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() != Adapters.Count)
            {
                throw ConfigFields.Wrong(field, $"a list of {Adapters.Count} ranks, one for each of {Field}.adapters", value);
            }

            int[] blocks = [.. value.EnumerateArray().Select(item => Whole(field, item, 0, limits.MaxRank, nameof(limits.MaxRank)))];
            long sum = blocks.Sum(rank => (long)rank);
            if (sum < 1 || sum > limits.MaxRank)
            {
                throw ConfigFields.Wrong(field, $"ranks whose sum is from 1 to MaxRank {limits.MaxRank}", value);
            }

            ranks.Add(path, blocks);
        }

        return ranks;
    }

    private static float TemperatureOf(string field, JsonElement value)
    {
        double temperature = ConfigFields.NumberOf(field, value);
        return temperature is >= LowestTemperature and <= HighestTemperature
            ? (float)temperature
            : throw ConfigFields.Wrong(
                field, FormattableString.Invariant($"a number from {LowestTemperature} to {HighestTemperature}"), value);
    }

    private static bool Flag(string field, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw ConfigFields.Wrong(field, "true or false", value),
    };

    private static int Whole(string field, JsonElement value, int least, int most, string limit) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= least && number <= most
            ? number
            : throw ConfigFields.Wrong(field, $"a whole number from {least} to {limit} {most}", value);
}
