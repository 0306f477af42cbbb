using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors.Safetensors;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>
/// Adapters broken in every way that came to mind, by seeded mutation of sound ones. Each must give an
/// <see cref="AdapterFormatException"/> and take memory in proportion to its files.
/// </summary>
public sealed class MalformedAdapterTests : IDisposable
{
    private const string A0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    private const string B0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

    private static readonly AdapterLimits s_limits = new() { MaxPatternTime = TimeSpan.FromMilliseconds(200) };
    private static readonly (byte[] Config, byte[] Weights) s_sound = TinyModel.Adapter(1, usesDora: true);

    private readonly TemporaryFolder _folder = new();
    private readonly ITestOutputHelper _output;

    public MalformedAdapterTests(ITestOutputHelper output)
    {
        _output = output;
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_adapter_that_is_mutated_is_sound()
    {
        _ = new PeftImporter(TinyModel.Shape, s_limits).Import(_folder.Write(s_sound.Config, s_sound.Weights), "sound");
    }

    [Fact]
    public void More_than_500_broken_adapters_give_a_clear_error_each()
    {
        List<(string Name, byte[] Config, byte[] Weights)> cases =
        [
            .. BrokenWeights().Select(one => (one.Name, s_sound.Config, one.Bytes)),
            .. BrokenConfigs().Select(one => (one.Name, one.Bytes, s_sound.Weights)),
        ];
        List<string> failures = [];
        foreach ((string name, byte[] config, byte[] weights) in cases)
        {
            if (Try(config, weights, out long allocated) is not AdapterFormatException error)
            {
                failures.Add($"{name}: accepted");
                continue;
            }

            long limit = (8L * (config.Length + weights.Length)) + (4 << 20);
            if (allocated > limit)
            {
                failures.Add($"{name}: {allocated} bytes allocated for files of {config.Length + weights.Length}");
            }

            if (error.Message.Length > 2000 || error.File.Length == 0 || error.Message.Any(char.IsControl))
            {
                failures.Add($"{name}: unclear message of {error.Message.Length} characters");
            }
        }

        _output.WriteLine($"{cases.Count} broken adapters");
        Assert.True(cases.Count > 500, $"only {cases.Count} cases");
        Assert.True(failures.Count == 0, $"{failures.Count} of {cases.Count}: {string.Join(Environment.NewLine, failures.Take(20))}");
    }

    [Fact]
    public void Random_bytes_changed_anywhere_are_refused_or_read_but_nothing_else()
    {
        Random random = new(77);
        int refused = 0;
        for (int i = 0; i < 1500; i++)
        {
            byte[] config = [.. s_sound.Config];
            byte[] weights = [.. s_sound.Weights];
            byte[] target = i % 3 == 0 ? config : weights;
            int range = i % 3 == 1 ? 700 : target.Length;
            for (int flips = random.Next(1, 4); flips > 0; flips--)
            {
                target[random.Next(Math.Min(range, target.Length))] = (byte)random.Next(256);
            }

            refused += Try(config, weights, out long allocated) is null ? 0 : 1;
            Assert.True(allocated < (8L * (config.Length + weights.Length)) + (4 << 20), $"case {i}: {allocated} bytes");
        }

        _output.WriteLine($"{refused} of 1500 refused");
        Assert.InRange(refused, 500, 1500);
    }

    // Anything but an AdapterFormatException escapes and fails the test.
    private AdapterFormatException? Try(byte[] config, byte[] weights, out long allocated)
    {
        PeftImporter importer = new(TinyModel.Shape, s_limits);
        _folder.Write(config, weights);
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            _ = importer.Import(_folder.Path, "broken");
            return null;
        }
        catch (AdapterFormatException error)
        {
            return error;
        }
        finally
        {
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    private static IEnumerable<(string Name, byte[] Bytes)> BrokenWeights()
    {
        byte[] sound = s_sound.Weights;
        for (int length = 0; length < sound.Length; length += Math.Max(1, sound.Length / 150))
        {
            yield return ($"truncated to {length}", sound[..length]);
        }

        foreach (int extra in (int[])[1, 4, 1000])
        {
            yield return ($"{extra} bytes too many", [.. sound, .. new byte[extra]]);
        }

        long headerLength = BinaryPrimitives.ReadInt64LittleEndian(sound);
        foreach (long length in (long[])[0, 1, 7, headerLength - 1, headerLength - 8, headerLength + 1, headerLength + 8, sound.Length, sound.Length - 8, 99_000_000,
            100_000_001, int.MaxValue, uint.MaxValue, long.MaxValue, long.MinValue, -1])
        {
            byte[] bytes = [.. sound];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
            yield return ($"header length {length}", bytes);
        }

        foreach ((string name, byte[] start) in Magics())
        {
            yield return (name, start);
            yield return ($"{name} and 4 KB", [.. start, .. new byte[4096]]);
        }

        string[] offsets = ["[0, 0]", "[0, 1]", "[1, 49]", "[48, 0]", "[-48, 0]", "[0, 9223372036854775807]", "[9223372036854775760, 9223372036854775807]", "[0, 48.5]",
            "[0]", "[0, 48, 96]", "[]", "\"0-48\"", "{}", "null", "[0, 1e30]", "[0, 99999999999999999999]", "[4096, 4144]", "[true, false]", "[0, [48]]"];
        foreach (string text in offsets)
        {
            yield return ($"offsets {text}", Header(header => header[A0]!["data_offsets"] = JsonNode.Parse(text)));
        }

        string[] shapes = ["[2, 7]", "[6, 2]", "[12]", "[]", "[2, 6, 1]", "[-2, -6]", "[0, 6]", "[2, 9223372036854775807]", "[9223372036854775807, 9223372036854775807]",
            "[4294967296, 4294967296]", "[1.5, 8]", "[\"2\", 6]", "null", "{}", "12", "[2, null]", "[2, 1e40]", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2,6]"];
        foreach (string text in shapes)
        {
            yield return ($"shape {text}", Header(header => header[A0]!["shape"] = JsonNode.Parse(text)));
            yield return ($"shape of B {text}", Header(header => header[B0]!["shape"] = JsonNode.Parse(text)));
        }

        foreach (string text in (string[])["\"F64\"", "\"I64\"", "\"U8\"", "\"BF16\"", "\"F16\"", "\"f32\"", "\"\"", "\"F8_E4M3\"", "null", "4", "{}", "\"BOOL\"", "\"I32\"", "\"U32\""])
        {
            yield return ($"dtype {text}", Header(header => header[A0]!["dtype"] = JsonNode.Parse(text)));
        }

        foreach (string field in (string[])["dtype", "shape", "data_offsets"])
        {
            yield return ($"no {field}", Header(header => ((JsonObject)header[A0]!).Remove(field)));
        }

        yield return ("unknown field", Header(header => header[A0]!["strides"] = new JsonArray(6, 1)));
        yield return ("metadata that is no text", Header(header => header["__metadata__"] = new JsonObject { ["a"] = 1 }));
        yield return ("metadata that is no object", Header(header => header["__metadata__"] = "a"));
        yield return ("entry that is no object", Header(header => header["x"] = 1));
        string[] names = ["x", "", "base_model.model.", "base_model.model..lora_A.weight", "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight",
            "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", "base_model.model.model.layers.0.mlp.c_fc.lora_A.weight", "../../etc/passwd",
            "base_model.model.../../x.lora_A.weight", "/dev/null", "C:\\x", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.bias",
            "base_model.model.model.layers.0.self_attn.q_proj.weight", "base_model.model.lm_head.lora_A.weight", "base_model.vera_A", "a\u0000b", "a\nb\u001b[31m",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_E", "base_model.model.model.layers.0.self_attn.q_proj.lora_embedding_A",
            "model.layers.0.self_attn.q_proj.lora_A.weight", "__metadata__", new string('x', 100_000), "base_model.model." + new string('a', 50_000) + ".lora_A.weight"];
        foreach (string name in names)
        {
            yield return ($"tensor named {name[..Math.Min(30, name.Length)]}", Header(header => Rename(header, A0, name)));
            yield return ($"tensor of B named {name[..Math.Min(30, name.Length)]}", Header(header => Rename(header, B0, name)));
        }

        foreach (string text in (string[])["", " ", "null", "[]", "{", "{}", "{\"a\"", "{\"a\":{}}", "[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}",
            "\u00ff\u00fe", "{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", "{/* */}", "{} {}", new string('[', 100_000), "{'a':1}", "nan"])
        {
            byte[] json = Encoding.Latin1.GetBytes(text);
            yield return ($"header {text[..Math.Min(20, text.Length)]}", [.. Prefix(json.Length), .. json, .. sound[(8 + (int)headerLength)..]]);
        }

        string doubled = Encoding.UTF8.GetString(sound, 8, (int)headerLength).TrimEnd();
        byte[] twice = Encoding.UTF8.GetBytes(doubled[..^1] + "," + doubled[1..]);
        yield return ("every tensor twice", [.. Prefix(twice.Length), .. twice, .. sound[(8 + (int)headerLength)..]]);

        int data = 8 + (int)headerLength;
        Random random = new(5);
        foreach (float value in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
        {
            for (int i = 0; i < 25; i++)
            {
                byte[] bytes = [.. sound];
                int element = i == 0 ? 0 : i == 1 ? ((bytes.Length - data) / 4) - 1 : random.Next((bytes.Length - data) / 4);
                BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(data + (4 * element)), value);
                yield return ($"{value.ToString(CultureInfo.InvariantCulture)} at {element}", bytes);
            }
        }

        // Finite in the file, infinite once alpha / r is folded in.
        byte[] large = [.. sound];
        long offsetB = JsonNode.Parse(doubled)![B0]!["data_offsets"]![0]!.GetValue<long>();
        BinaryPrimitives.WriteSingleLittleEndian(large.AsSpan(data + (int)offsetB), float.MaxValue);
        yield return ("overflow of s B", large);

        List<SafetensorsWriter.Tensor> all = TinyModel.LoraTensors(1, 2, "q_proj", "v_proj");
        for (int i = 0; i < all.Count; i++)
        {
            yield return ($"without tensor {i} and magnitudes", TinyModel.Bytes([.. all.Where((_, index) => index != i)]));
        }

        foreach (int rank in (int[])[1, 3, 8, 600])
        {
            yield return ($"rank {rank} in the file", TinyModel.Bytes(TinyModel.LoraTensors(1, rank, "q_proj", "v_proj")));
        }

        yield return ("no tensors", TinyModel.Bytes(Array.Empty<SafetensorsWriter.Tensor>()));
    }

    private static IEnumerable<(string Name, byte[] Bytes)> Magics()
    {
        yield return ("empty", []);
        yield return ("zip", [(byte)'P', (byte)'K', 3, 4]);
        yield return ("pickle 2", [0x80, 2, (byte)'}', (byte)'q', 0]);
        yield return ("pickle 4", [0x80, 4, 0x95, 0, 0, 0, 0, 0, 0, 0, 0]);
        yield return ("gzip", [0x1f, 0x8b, 8, 0]);
        yield return ("elf", [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0]);
        yield return ("gguf", [(byte)'G', (byte)'G', (byte)'U', (byte)'F', 3, 0, 0, 0]);
        yield return ("json", "{\"a\": 1}"u8.ToArray());
        yield return ("html", "<!DOCTYPE html><html>"u8.ToArray());
        yield return ("lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"u8.ToArray());
    }

    private static IEnumerable<(string Name, byte[] Bytes)> BrokenConfigs()
    {
        byte[] sound = s_sound.Config;
        for (int length = 0; length < sound.Length; length += 2)
        {
            yield return ($"config cut to {length}", sound[..length]);
        }

        (string Field, string[] Values)[] fields =
        [
            ("peft_type", ["null", "1", "\"\"", "\"lora\"", "\"LOHA\"", "\"LOKR\"", "\"XLORA\"", "\"PREFIX_TUNING\"", "[\"LORA\"]", "\"VERA\"", "\"IA3\"", "\"ADALORA\""]),
            ("r", ["0", "-1", "1", "3", "1.5", "1e300", "4294967298", "99999999999999999999", "\"2\"", "[2]", "{}", "true", "513"]),
            ("lora_alpha", ["\"4\"", "[]", "{}", "1e400", "-1e400", "1e39", "true"]),
            ("use_dora", ["1", "\"true\"", "[]", "false"]),
            ("use_rslora", ["1", "\"yes\"", "{}"]),
            ("lora_bias", ["true", "1"]),
            ("bias", ["\"some\"", "true", "[]", "1"]),
            ("target_modules", ["1", "true", "{}", "[]", "\"\"", "[1]", "[\"x\"]", "[null]", "[[\"q_proj\"]]", "\"(\"", "\"[\"", "\"*\"", "\"(?P<n\"", "\"q_proj\"", "[\"q_proj\"]",
                "[\"q_proj\", \"v_proj\", \"lm_head\"]", "\"all-linear\"", "\"(.*)*(.*)*(.*)*(.*)*(.*)*x\"", "\"((([a-z._0-9])+)+)+!\"", "\"(a|a|.)*!\"", "\".*[\"", "null", "[\"\\ud800\"]",
                "\"" + new string('a', 5000) + "\"", "\"(?:" + string.Concat(Enumerable.Repeat("(?:a{9}){9}", 100)) + ")\""]),
            ("exclude_modules", ["1", "{}", "[1]", "[\"q_proj\"]", "\".*\"", "\"(\"", "\"(.*)*(.*)*(.*)*!\""]),
            ("layers_to_transform", ["\"1\"", "[1.5]", "[-1]", "-1", "1", "[0]", "[99]", "{}", "true", "1.5"]),
            ("rank_pattern", ["[]", "1", "\"x\"", "{\"q_proj\": 3}", "{\"q_proj\": 0}", "{\"q_proj\": -1}", "{\"q_proj\": 1e9}", "{\"q_proj\": 100000}", "{\"q_proj\": \"2\"}", "{\"q_proj\": [true]}", "{\"(\": 2}",
                "{\"((([a-z._0-9])+)+)+!\": 2}"]),
            ("alpha_pattern", ["[]", "1", "{\"q_proj\": \"1\"}", "{\"q_proj\": null}", "{\"q_proj\": 1e999}", "{\"[\": 2}"]),
            ("modules_to_save", ["1", "{}", "[1]", "[\"x\"]", "[\"lm_head\"]", "[\"\"]", "\"lm_head\"", "[\"q_proj\"]", "[\"..\"]", "[\"self_attn\"]"]),
            ("trainable_token_indices", ["1", "\"x\"", "[1]", "[-1]", "[1, 1]", "[99]", "{\"embed_tokens\": 1}", "{\"embed_tokens\": [1.5]}", "{\"embed_tokens\": [5]}", "{\"embed_tokens\": [2147483648]}"]),
            ("base_model_name_or_path", ["1", "[]", "{}"]),
            ("init_lora_weights", ["\"pissa\"", "\"olora\"", "\"loftq\"", "\"corda\"", "\"lora_ga\"", "\"x\"", "1", "[]"]),
            ("ensure_weight_tying", ["1", "\"true\""]),
            ("loftq_config", ["{\"loftq_bits\": 4}", "1"]),
            ("layer_replication", ["[[0, 1]]"]),
            ("use_qalora", ["true"]),
            ("unknown_field", ["1", "true", "\"x\"", "[0]", "{\"a\": 1}"]),
        ];
        foreach ((string field, string[] values) in fields)
        {
            foreach (string value in values)
            {
                yield return ($"{field}: {value[..Math.Min(40, value.Length)]}", WithField(field, value));
            }
        }

        string text = Encoding.UTF8.GetString(sound);
        foreach ((string name, string json) in (IEnumerable<(string, string)>)[
            ("duplicate field", text[..^1] + ",\"r\":2}"),
            ("not an object", "[]"),
            ("a string", "\"x\""),
            ("a comment", "/* */" + text),
            ("a trailing comma", text[..^1] + ",}"),
            ("two documents", text + text),
            ("NaN", text.Replace("\"lora_alpha\":4", "\"lora_alpha\":NaN", StringComparison.Ordinal)),
            ("Infinity", text.Replace("\"lora_alpha\":4", "\"lora_alpha\":Infinity", StringComparison.Ordinal)),
            ("deep nesting", text[..^1] + ",\"auto_mapping\":" + new string('[', 10_000) + new string(']', 10_000) + "}"),
            ("deeper nesting", new string('{', 1_000_000)),
            ("2 MB", text[..^1] + ",\"task_type\":\"" + new string('x', 2_000_000) + "\"}"),
            ("60 000 fields", text[..^1] + string.Concat(Enumerable.Range(0, 60_000).Select(i => $",\"f{i}\":null")) + "}"),
            ("a lone surrogate in a pattern", WithText("rank_pattern", "{\"\\ud800\": 2}")),
            ("a lone surrogate", text[..^1] + ",\"task_type\":1,\"\\ud800\":null}"),
            ("many targets", WithText("target_modules", "[" + string.Join(',', Enumerable.Range(0, 100_000).Select(i => $"\"x{i}\"")) + "]")),
            ("too many targets", WithText("target_modules", "[" + string.Join(',', Enumerable.Repeat("\"x\"", 200_000)) + "]")),
            ("many patterns", WithText("rank_pattern", "{" + string.Join(',', Enumerable.Range(0, 50_000).Select(i => $"\"({i})\":2")) + "}")),
            ("many plain patterns", WithText("rank_pattern", "{" + string.Join(',', Enumerable.Range(0, 50_000).Select(i => $"\"x{i}\":2")) + ",\"q_proj\":3}")),
        ])
        {
            yield return (name, Encoding.UTF8.GetBytes(json));
        }

        yield return ("invalid UTF-8", [.. sound[..^1], (byte)',', (byte)'"', 0xff, 0xfe, (byte)'"', (byte)':', (byte)'1', (byte)'}']);
        yield return ("UTF-16", Encoding.Unicode.GetBytes(text));
        yield return ("zip as a config", [(byte)'P', (byte)'K', 3, 4, 0, 0]);
    }

    private static byte[] WithField(string field, string value) => Encoding.UTF8.GetBytes(WithText(field, value));

    // As text: a value may be something that no JSON writer would write.
    private static string WithText(string field, string value)
    {
        JsonObject config = (JsonObject)JsonNode.Parse(s_sound.Config)!;
        config.Remove(field);
        return config.ToJsonString()[..^1] + $",\"{field}\":{value}}}";
    }

    private static byte[] Header(Action<JsonObject> change)
    {
        byte[] sound = s_sound.Weights;
        int length = (int)BinaryPrimitives.ReadInt64LittleEndian(sound);
        JsonObject header = (JsonObject)JsonNode.Parse(sound.AsSpan(8, length))!;
        change(header);
        byte[] json = Encoding.UTF8.GetBytes(header.ToJsonString());
        return [.. Prefix(json.Length), .. json, .. sound.AsSpan(8 + length)];
    }

    private static void Rename(JsonObject header, string from, string to)
    {
        JsonNode entry = header[from]!.DeepClone();
        header.Remove(from);
        header[to] = entry;
    }

    private static byte[] Prefix(long length)
    {
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, length);
        return prefix;
    }
}
