using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance.Training;
using InferenceServer.TestKit.Cuda;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.KernelTests.Cuda.Training;

/// <summary>Each barrier and each mask of the training kernels is needed, and the conformance tests see it when it is missing.</summary>
[Collection(StandInCollection.Name)]
public sealed class TrainingMutationTests(ITestOutputHelper output)
{
    // What each thread does before the others shows reads before writes and writes before reads.
    private static readonly KernelSchedule[] s_schedules = [KernelSchedule.LaneOrder, KernelSchedule.GreedyForward, KernelSchedule.GreedyBackward, KernelSchedule.Reverse];

    private static readonly Dictionary<string, Action> s_cases = new(StringComparer.Ordinal)
    {
        ["norms"] = () => With<CudaNormTraining>(test =>
        {
            test.Rms_norm(3, 300, 1f);
            test.Layer_norm(3, 300);
        }),
        ["attention"] = () => With<CudaAttentionTraining>(test => test.Attention(2, 1, 4, 7, 2f)),
        ["rope"] = () => With<CudaAttentionTraining>(test => test.Rope(10, 6)),
        ["attention by tensor cores"] = () =>
            new TensorCoreAttentionTests().Gradients_are_those_of_rounded_queries_keys_and_values(1, 1, 32, 50, 0f),
        ["products"] = () => With<CudaProductTraining>(test =>
        {
            test.Products_equal_their_definition(65, 30, 40);
            test.Products_equal_their_definition(20, 17, 600);
        }),
        ["sums"] = () => With<CudaTableTraining>(test => test.Columns_are_summed(300, 9)),
        ["tables"] = () => With<CudaTableTraining>(test => test.Rows_and_columns_are_gathered_and_scattered_in_order(7)),
        ["losses"] = () => With<CudaLossTraining>(test =>
        {
            test.Cross_entropy_is_the_sum_over_labelled_rows_and_leaves_the_others_out(1100);
            test.Squares_are_summed(3, 400);
        }),
        ["activations"] = () => With<CudaElementTraining>(test =>
        {
            test.Activations_gated_and_alone(Activation.Silu);
            test.Soft_cap();
        }),
        ["elements"] = () => With<CudaElementTraining>(test =>
        {
            test.Copies_zeros_sums_and_column_scales(3, 20);
            test.Dropout_drops_the_same_elements_everywhere_and_on_the_way_back(0.25f);
            test.Adam_follows_its_formula(false);
        }),
        ["gates"] = () => With<CudaGateTraining>(test =>
        {
            test.The_softmax_of_a_gate(3, 5, 2, 1f, true);
            test.Blocks_are_scaled_and_give_their_factors_the_products(3, [2, 0, 5]);
        }),
        ["frozen weights"] = () => With<CudaFrozenWeightTraining>(test =>
        {
            test.Adapted_row_norms_are_those_of_the_sum(WeightFormat.NF4);
            test.A_frozen_weight_passes_the_gradient_on(130, 33, 65, WeightFormat.F32);
        }),
    };

    public static TheoryData<string> Cases => [.. s_cases.Keys];

    [StandInTheory]
    [MemberData(nameof(Cases))]
    public void A_missing_barrier_or_mask_is_noticed(string name)
    {
        Action run = s_cases[name];
        IReadOnlyList<string> sites = StandIn.SitesReachedBy(run);

        List<string> unnoticed = [];
        foreach (string site in sites)
        {
            string? noticed = Notice(site, run);
            output.WriteLine($"{site}: {noticed}");
            if (noticed is null)
            {
                unnoticed.Add(site);
            }
        }

        Assert.NotEmpty(sites);
        Assert.True(unnoticed.Count == 0, $"not noticed:\n{string.Join('\n', unnoticed)}");
    }

    // The first line of what the first schedule says that notices.
    private static string? Notice(string site, Action run)
    {
        foreach (KernelSchedule schedule in s_schedules)
        {
            try
            {
                StandIn.SetSchedule(schedule);
                StandIn.Omit(site);
                run();
            }
            catch (Exception error)
            {
                return $"{schedule}: {error.Message.Split('\n')[0]}";
            }
            finally
            {
                StandIn.Omit("");
                StandIn.Reset();
            }
        }

        return null;
    }

    private static void With<TTest>(Action<TTest> run)
        where TTest : TrainingConformance, new()
    {
        using TTest test = new();
        run(test);
    }
}
