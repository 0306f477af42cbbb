namespace InferenceServer.Tensors;

/// <summary>Element-wise activation of a feed-forward layer.</summary>
public enum Activation
{
    /// <summary><c>x / (1 + exp(-x))</c>.</summary>
    Silu,

    /// <summary><c>0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))</c>; "gelu_new", "gelu_pytorch_tanh".</summary>
    GeluTanh,

    /// <summary><c>0.5 x (1 + erf(x / sqrt 2))</c>.</summary>
    Gelu,

    /// <summary><c>max(x, 0)</c>.</summary>
    Relu,
}
