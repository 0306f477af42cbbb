using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.Cpu;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Transformer;

/// <summary>Hundreds of broken model folders: each one clear error, none a crash or an allocation out of proportion.</summary>
public sealed class MalformedModelTests : IDisposable
{
    private const int CaseCount = 500;

    private static readonly string s_valid = Path.Combine(AppContext.BaseDirectory, "Data", "golden", "fixtures", "bases", "llama");

    private readonly ITestOutputHelper _output;
    private readonly string _folder = Directory.CreateTempSubdirectory("malformed-model-").FullName;
    private readonly CpuBackend _backend = new(new CpuOptions());
    private readonly byte[] _config = File.ReadAllBytes(Path.Combine(s_valid, "config.json"));
    private readonly byte[] _weights = File.ReadAllBytes(Path.Combine(s_valid, "model.safetensors"));

    public MalformedModelTests(ITestOutputHelper output) => _output = output;

    public void Dispose()
    {
        _backend.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Every_broken_folder_gives_one_clear_error_and_takes_little_memory()
    {
        Random random = new(20260101);
        Dictionary<string, int> kinds = [];
        for (int i = 0; i < CaseCount; i++)
        {
            string kind = Break(random, i);
            kinds[kind] = kinds.GetValueOrDefault(kind) + 1;

            long before = GC.GetAllocatedBytesForCurrentThread();
            Exception? error = Record.Exception(() => TransformerModel.Load(_folder, _backend, new ModelLoadOptions { Weights = WeightFormat.F32 }).Dispose());
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

            Assert.True(error is ModelFormatException, $"case {i} ({kind}): {error?.GetType().Name ?? "no error"}: {error?.Message}");
            Assert.InRange(error!.Message.Length, 10, 600);
            Assert.DoesNotContain(_folder + "/..", error.Message, StringComparison.Ordinal);
            Assert.True(allocated < (4L << 20) + (8L * (_weights.Length + _config.Length)), $"case {i} ({kind}) allocated {allocated} bytes");
        }

        foreach ((string kind, int count) in kinds)
        {
            _output.WriteLine($"{count,4} {kind}");
        }
    }

    // Writes one broken folder and says what is wrong with it.
    private string Break(Random random, int index)
    {
        foreach (string file in Directory.GetFiles(_folder))
        {
            File.Delete(file);
        }

        byte[] config = _config;
        byte[] weights = _weights;
        string kind;
        switch (index % 16)
        {
            case 0:
                kind = "weights cut short";
                weights = weights[..random.Next(weights.Length)];
                break;
            case 1:
                kind = "header length lies";
                weights = [.. weights];
                BinaryPrimitives.WriteUInt64LittleEndian(weights, random.Next(3) switch { 0 => ulong.MaxValue, 1 => (ulong)random.NextInt64(), _ => (ulong)random.Next(8, 200) });
                break;
            case 2:
                kind = "offsets out of the file";
                weights = EditTensor(random, (tensor, _) => tensor["data_offsets"] = new JsonArray(random.NextInt64(1L << 40, long.MaxValue), long.MaxValue));
                break;
            case 3:
                kind = "offsets overlap or leave a hole";
                weights = EditTensor(random, (tensor, _) =>
                {
                    long start = tensor["data_offsets"]![0]!.GetValue<long>();
                    long end = tensor["data_offsets"]![1]!.GetValue<long>();
                    long shift = 4 * random.Next(1, 8) * (start > 64 ? -1 : 1);
                    tensor["data_offsets"] = new JsonArray(start + shift, end + shift);
                });
                break;
            case 4:
                kind = "shape lies";
                weights = EditTensor(random, (tensor, _) => tensor["shape"] = new JsonArray(random.NextInt64(), random.NextInt64(), random.NextInt64()));
                break;
            case 5:
                kind = "shape transposed or flattened";
                weights = EditTensor(random, (tensor, _) =>
                {
                    long[] shape = [.. tensor["shape"]!.AsArray().Select(dimension => dimension!.GetValue<long>())];
                    tensor["shape"] = new JsonArray(1, shape.Aggregate((a, b) => a * b));
                });
                break;
            case 6:
                kind = "tensor missing";
                weights = RenameTensor(random);
                break;
            case 7:
                kind = "type is not a weight";
                weights = EditTensor(random, (tensor, _) => tensor["dtype"] = random.Next(3) switch { 0 => "I32", 1 => "U32", _ => "F7" });
                break;
            case 8:
                kind = "NaN or infinity";
                weights = [.. weights];
                int at = weights.Length - (4 * random.Next(1, 2000));
                BinaryPrimitives.WriteSingleLittleEndian(weights.AsSpan(at), random.Next(2) == 0 ? float.NaN : float.NegativeInfinity);
                break;
            case 9:
                kind = "config is not JSON";
                config = config[..random.Next(config.Length - 4)];
                break;
            case 10:
                kind = "config size out of range or another model's";
                config = EditConfig(json => json[Pick(random, "hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "num_attention_heads", "head_dim")]
                    = Pick<JsonNode>(random, -1, 0, 3, 1_000_003, 1e300, "64", new JsonArray(1)));
                break;
            case 11:
                kind = "config nested too deep";
                config = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("[", random.Next(100, 100_000))));
                break;
            case 12:
                kind = "architecture unknown";
                config = EditConfig(json => json["architectures"] = new JsonArray(Pick(random, "T5ForConditionalGeneration", "", "../../etc/passwd", "LlamaForCausalLm")));
                break;
            case 13:
                kind = "index escapes its folder or lies";
                string shard = Pick(random, "../model.safetensors", "/etc/passwd", "missing.safetensors", "sub/model.safetensors", "model.bin", "\u0000.safetensors", "");
                File.WriteAllText(Path.Combine(_folder, "model.safetensors.index.json"), new JsonObject { ["weight_map"] = new JsonObject { ["lm_head.weight"] = shard } }.ToJsonString());
                weights = [];
                break;
            case 14:
                kind = "pickle or random bytes";
                weights = new byte[random.Next(0, 4096)];
                random.NextBytes(weights);
                break;
            default:
                kind = "header is broken JSON";
                weights = [.. weights];
                weights[8 + random.Next(200)] = (byte)Pick(random, '{', '}', '"', '\0', '\u00ff');
                weights[8] = (byte)'[';
                break;
        }

        File.WriteAllBytes(Path.Combine(_folder, "config.json"), config);
        if (weights.Length > 0 || kind.StartsWith("weights", StringComparison.Ordinal))
        {
            File.WriteAllBytes(Path.Combine(_folder, "model.safetensors"), weights);
        }

        return kind;
    }

    private byte[] EditTensor(Random random, Action<JsonObject, string> edit) => EditHeader(header =>
    {
        string[] names = [.. header.Select(pair => pair.Key).Where(name => name != "__metadata__")];
        string name = names[random.Next(names.Length)];
        edit(header[name]!.AsObject(), name);
    });

    private byte[] RenameTensor(Random random) => EditHeader(header =>
    {
        string[] names = [.. header.Select(pair => pair.Key).Where(name => name != "__metadata__")];
        string name = names[random.Next(names.Length)];
        JsonNode tensor = header[name]!.DeepClone();
        header.Remove(name);
        header[name + "_"] = tensor;
    });

    private byte[] EditHeader(Action<JsonObject> edit)
    {
        int length = (int)BinaryPrimitives.ReadInt64LittleEndian(_weights);
        JsonObject header = JsonNode.Parse(_weights.AsSpan(8, length))!.AsObject();
        edit(header);
        byte[] json = Encoding.UTF8.GetBytes(header.ToJsonString());
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, json.Length);
        return [.. prefix, .. json, .. _weights.AsSpan(8 + length)];
    }

    private byte[] EditConfig(Action<JsonObject> edit)
    {
        JsonObject json = JsonNode.Parse(_config)!.AsObject();
        edit(json);
        return Encoding.UTF8.GetBytes(json.ToJsonString());
    }

    private static T Pick<T>(Random random, params T[] choices) => choices[random.Next(choices.Length)];
}
