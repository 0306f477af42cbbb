using InferenceServer.Tensors.Sampling;

namespace InferenceServer.Tensors;

/// <summary>
/// What a backend can do beside <see cref="IComputeBackend"/> when it draws tokens where the logits lie, so that they need not be read.
/// </summary>
public interface ISamplingBackend
{
    /// <summary>
    /// Draws a token from each row of logits that the batch does not leave out, after all operations before, and waits for it. The logits stay
    /// as they are. A row's token depends on that row alone. With l a row, V long, and in this order:
    /// <list type="number">
    /// <item><description>A NaN or infinity in l, or nothing above minus infinity: <see cref="SampleStatus.NotFinite"/>.</description></item>
    /// <item><description><c>l[i] += bias[i]</c>.</description></item>
    /// <item><description>For each i in prompt or output, once: <c>l[i] = l[i] &lt; 0 ? l[i] * repetition : l[i] / repetition</c>.</description></item>
    /// <item><description>For each i that is n times in the output, n above 0: <c>l[i] -= presence + frequency * n</c>.</description></item>
    /// <item><description><c>l[i] = -infinity</c> where i is banned.</description></item>
    /// <item><description>A NaN or infinity now: <see cref="SampleStatus.NotFinite"/>; minus infinity everywhere:
    /// <see cref="SampleStatus.NothingLeft"/>.</description></item>
    /// <item><description>Temperature 0: the i of the largest l[i]; of equal ones the lowest i. Else <c>l = l / temperature</c> and
    /// <c>w = exp(l - max l)</c>, rounded to f32, and of all tokens stay:</description></item>
    /// <item><description>top-k, where 0 &lt; k &lt; V: those with l[i] at least the k-th largest.</description></item>
    /// <item><description>top-p, where p &lt; 1: in descending order of l, of equal ones the lower i first, those before which the sum of w is below p
    /// times the sum of all that stayed until here; at least one.</description></item>
    /// <item><description>min-p: those with w[i] at least min-p.</description></item>
    /// <item><description>In ascending order of i, the first with which the sum of w exceeds u times the sum of all; u is the number in [0, 1) that
    /// Philox4x32-10 gives for the key Seed and the counter Draw: the upper 53 bits of its first two words, the second one above.</description></item>
    /// </list>
    /// Additions, products and quotients of logits are single f32 operations, each rounded. How exactly w is summed is the backend's: a token
    /// of which w is below 1e-12 need not ever be drawn.
    /// </summary>
    /// <param name="logits"><c>[rows, V]</c>.</param>
    /// <param name="batch">How; as many rows. The step's own (<see cref="Steps.StepInputs.Sampling"/>) saves a copy to the device.</param>
    /// <param name="tokens">Receives one for each row; those of rows left out are not written.</param>
    void Sample(TensorView logits, SamplingBatch batch, Span<SampledToken> tokens);
}
