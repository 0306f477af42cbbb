namespace InferenceServer.Tensors;

/// <summary>
/// One step of Adam with decoupled decay: <c>m = beta1 m + (1 - beta1) f g</c>, <c>v = beta2 v + (1 - beta2) (f g)^2</c>,
/// <c>w -= Rate m / (sqrt(v) / RootCorrection + Epsilon)</c> and the decay <c>w *= Shrink</c>, before the step as in torch's AdamW or after it.
/// </summary>
/// <param name="GradientFactor">f, the factor of the gradient (clipping).</param>
/// <param name="Beta1">Memory of the mean.</param>
/// <param name="Beta2">Memory of the mean square.</param>
/// <param name="Rate">Learning rate with the mean's bias correction.</param>
/// <param name="RootCorrection">Divisor of the root of the mean square: its bias correction.</param>
/// <param name="Epsilon">Added to the root.</param>
/// <param name="Shrink">1 - learning rate * weight decay.</param>
/// <param name="ShrinkAfter">Whether the decay comes after the step (PEFT's LoRA-FA optimiser).</param>
public readonly record struct AdamStep(
    float GradientFactor, float Beta1, float Beta2, float Rate, float RootCorrection, float Epsilon, float Shrink, bool ShrinkAfter);
