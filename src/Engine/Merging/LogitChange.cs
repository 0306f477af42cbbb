namespace InferenceServer.Engine.Merging;

/// <summary>The largest absolute changes that a merge makes to logits, over every logit of a probe.</summary>
/// <param name="Tenant">Of the merged adapter's rows: applied beside the base before, folded into it after.</param>
/// <param name="Others">Of the rows of everybody else: plain base before, restored from the folded weights after.</param>
/// <param name="Largest">The largest logit of the probe before, in absolute value: what the changes are to be held against.</param>
public sealed record LogitChange(float Tenant, float Others, float Largest);
