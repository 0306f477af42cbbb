namespace InferenceServer.Tensors;

/// <summary>How a weight matrix is kept on the device. Accumulation is f32 in every format.</summary>
public enum WeightFormat
{
    /// <summary>4 bytes a weight; the most exact, for golden data and small models.</summary>
    F32,

    /// <summary>2 bytes a weight, rounded to nearest even.</summary>
    BF16,
}
