namespace InferenceServer.Training.Optimisation;

/// <summary>How gradients become changes.</summary>
public enum OptimizerKind
{
    /// <summary>Adam with decoupled decay, as torch.optim.AdamW.</summary>
    AdamW,

    /// <summary>LoRA+ (arXiv 2402.12354): AdamW in which B learns faster than A, as PEFT's create_loraplus_optimizer.</summary>
    LoraPlus,

    /// <summary>LoRA-FA (arXiv 2308.03303) as PEFT's create_lorafa_optimizer: A frozen, B's gradient projected back through A.</summary>
    LoraFa,
}
