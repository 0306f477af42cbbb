namespace InferenceServer.Models.Configuration;

/// <summary>Reads rope_scaling (or the newer rope_parameters) of config.json.</summary>
internal static class RopeScalingReader
{
    public static RopeScaling? Read(JsonFields? section, int maxPositions, int? originalAtRoot)
    {
        if (section is not { } rope)
        {
            return null;
        }

        string type = rope.Text("rope_type") ?? rope.Text("type") ?? "default";
        int Trained(int fallback) => rope.OptionalInt("original_max_position_embeddings", 1, 1 << 26) ?? originalAtRoot ?? fallback;
        double Factor() => rope.Number("factor", 1, 1e6);
        return type switch
        {
            "default" => null,
            "linear" => new RopeScaling.Linear(Factor()),
            "dynamic" => new RopeScaling.Dynamic(Factor(), Trained(maxPositions)),
            "llama3" => new RopeScaling.Llama3(
                Factor(),
                rope.Number("low_freq_factor", 1e-6, 1e6),
                rope.Number("high_freq_factor", 1e-6, 1e6),
                Trained(maxPositions)),
            "yarn" => Yarn(rope, Factor(), Trained(maxPositions)),
            "longrope" or "su" => LongRope(rope, maxPositions, Trained(maxPositions)),
            _ => throw rope.Error("rope_type", $"is '{type}', which is not supported; supported are default, linear, dynamic, llama3, yarn, longrope"),
        };
    }

    private static RopeScaling.Yarn Yarn(JsonFields rope, double factor, int trained)
    {
        double attention = rope.Has("attention_factor")
            ? rope.Number("attention_factor", 1e-6, 1e6)
            : rope.Has("mscale") && rope.Has("mscale_all_dim")
                ? Magnitude(factor, rope.Number("mscale", 0, 1e3)) / Magnitude(factor, rope.Number("mscale_all_dim", 0, 1e3))
                : Magnitude(factor, 1);
        return new RopeScaling.Yarn(
            factor,
            rope.Number("beta_fast", 1e-6, 1e6, 32),
            rope.Number("beta_slow", 1e-6, 1e6, 1),
            attention,
            trained,
            rope.Bool("truncate", true));
    }

    private static double Magnitude(double factor, double scale) => factor <= 1 ? 1 : (0.1 * scale * Math.Log(factor)) + 1;

    private static RopeScaling.LongRope LongRope(JsonFields rope, int maxPositions, int trained)
    {
        double stretch = rope.Number("factor", 1, 1e6, (double)maxPositions / trained);
        double attention = stretch <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(stretch) / Math.Log(trained)));
        return new RopeScaling.LongRope(
            rope.Numbers("short_factor"),
            rope.Numbers("long_factor"),
            rope.Number("attention_factor", 1e-6, 1e6, attention),
            trained);
    }
}
