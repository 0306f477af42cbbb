using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using InferenceServer.Tensors;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>
/// Tells one base model from another: SHA-256 over every module's path, kind and sizes and the first row of some of them, rounded to
/// bf16 so that f32 and bf16 make no difference. A quantised base is another one: DoRA's factors differ with its weights.
/// </summary>
internal static class BaseFingerprint
{
    private const int SampledModules = 16;

    public static string Compute(ModelShape model)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        int stride = Math.Max(1, model.Modules.Count / SampledModules);
        foreach (ModuleShape module in model.Modules)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(
                $"{module.Path}|{module.Kind}|{module.OutFeatures}|{module.InFeatures}|{module.HasBias}\n"));
            if (module.Index % stride == 0)
            {
                float[] row = new float[module.Kind is ModuleKind.Embedding or ModuleKind.Norm ? module.OutFeatures : module.InFeatures];
                model.ReadUsedRows(module, 0, row);
                ushort[] rounded = [.. row.Select(BFloat16.FromSingle)];
                hash.AppendData(MemoryMarshal.AsBytes(rounded.AsSpan()));
            }
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
