using System.Runtime.InteropServices;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.Placeholder;

/// <summary>
/// The placeholder's weights: random, but for one hidden dimension. Dimension 0 of every embedding is 1 and no layer writes to it, so that
/// it reaches the last norm as a constant; the first column of lm_head is therefore a bias over tokens. It favours letters and spaces here,
/// and it is what the sample adapters turn towards capitals or small letters.
/// </summary>
public static class PlaceholderWeights
{
    /// <summary>The hidden dimension that is constant.</summary>
    public const int BiasDimension = 0;

    private const ulong Seed = 20_261_122;

    public static IReadOnlyList<SafetensorsWriter.Tensor> Create()
    {
        const int H = PlaceholderModel.HiddenSize;
        const int V = PlaceholderTokenizer.VocabularySize;
        const int Q = PlaceholderModel.HeadCount * PlaceholderModel.HeadSize;
        const int KV = PlaceholderModel.KvHeadCount * PlaceholderModel.HeadSize;
        const int I = PlaceholderModel.IntermediateSize;
        DeterministicRandom random = new(Seed);
        List<SafetensorsWriter.Tensor> tensors = [];

        float[] embeddings = random.Fill(V * H, 0.9f);
        SetColumn(embeddings, H, _ => 1f);
        tensors.Add(Matrix("model.embed_tokens.weight", V, H, embeddings));
        for (int layer = 0; layer < PlaceholderModel.LayerCount; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            tensors.Add(Ones($"{prefix}input_layernorm.weight", H));
            tensors.Add(Matrix($"{prefix}self_attn.q_proj.weight", Q, H, random.Fill(Q * H, 0.3f)));
            tensors.Add(Matrix($"{prefix}self_attn.k_proj.weight", KV, H, random.Fill(KV * H, 0.3f)));
            tensors.Add(Matrix($"{prefix}self_attn.v_proj.weight", KV, H, random.Fill(KV * H, 0.2f)));
            tensors.Add(Matrix($"{prefix}self_attn.o_proj.weight", H, Q, ZeroFirstRow(random.Fill(H * Q, 0.2f), Q)));
            tensors.Add(Ones($"{prefix}post_attention_layernorm.weight", H));
            tensors.Add(Matrix($"{prefix}mlp.gate_proj.weight", I, H, random.Fill(I * H, 0.2f)));
            tensors.Add(Matrix($"{prefix}mlp.up_proj.weight", I, H, random.Fill(I * H, 0.2f)));
            tensors.Add(Matrix($"{prefix}mlp.down_proj.weight", H, I, ZeroFirstRow(random.Fill(H * I, 0.15f), I)));
        }

        tensors.Add(Ones("model.norm.weight", H));
        float[] head = random.Fill(V * H, 0.35f);
        SetColumn(head, H, TokenBias);
        tensors.Add(Matrix("lm_head.weight", V, H, head));
        return tensors;
    }

    private static float TokenBias(int token)
    {
        return token switch
        {
            ' ' => 3f,
            (>= 'a' and <= 'z') or (>= 'A' and <= 'Z') => 2f,
            '.' or ',' => 0f,
            >= '!' and <= '~' => -3f,
            PlaceholderTokenizer.EndId => -4f,
            _ => -12f,
        };
    }

    private static void SetColumn(float[] matrix, int columns, Func<int, float> value)
    {
        for (int row = 0; row < matrix.Length / columns; row++)
        {
            matrix[(row * columns) + BiasDimension] = value(row);
        }
    }

    /// <summary>Keeps a layer from writing to <see cref="BiasDimension"/>.</summary>
    private static float[] ZeroFirstRow(float[] matrix, int columns)
    {
        Array.Clear(matrix, BiasDimension * columns, columns);
        return matrix;
    }

    private static SafetensorsWriter.Tensor Ones(string name, int count)
    {
        return Bf16(name, [count], [.. Enumerable.Repeat(1f, count)]);
    }

    private static SafetensorsWriter.Tensor Matrix(string name, int rows, int columns, float[] values)
    {
        return Bf16(name, [rows, columns], values);
    }

    private static SafetensorsWriter.Tensor Bf16(string name, long[] shape, float[] values)
    {
        ushort[] bits = Array.ConvertAll(values, BFloat16.FromSingle);
        return new SafetensorsWriter.Tensor(name, DType.BF16, shape, MemoryMarshal.AsBytes<ushort>(bits).ToArray());
    }
}
