using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Memory;

namespace InferenceServer.Benchmarks.Gpu.Device;

/// <summary>Operations per second of a bf16 product <c>y = x W^T</c> by cuBLASLt with f32 sums, and nothing beside it.</summary>
internal static unsafe class GemmRate
{
    private const int Slices = 10;
    private const nuint WorkspaceBytes = 64 << 20;

    public static double Measure(CudaDevice device, int rows, int outputs, int inputs)
    {
        using CudaBuffer weights = Noise.Filled(device, 2L * outputs * inputs);
        using CudaBuffer x = Noise.Filled(device, 2L * rows * inputs);
        using CudaBuffer y = new(device, 2L * rows * outputs, "y");
        using CudaBuffer workspace = new(device, (long)WorkspaceBytes, "workspace");
        using CudaStream stream = new();
        using DeviceTimer timer = new();
        Stack<Action> releases = [];
        try
        {
            CublasLtLibrary.Check(CublasLtLibrary.Create(out nint handle), "cublasLtCreate");
            releases.Push(() => _ = CublasLtLibrary.Destroy(handle));
            CublasLtLibrary.Check(
                CublasLtLibrary.CreateDescriptor(out nint descriptor, CublasLtLibrary.ComputeFloat32, CublasLtLibrary.Float32), "cublasLtMatmulDescCreate");
            releases.Push(() => _ = CublasLtLibrary.DestroyDescriptor(descriptor));
            int transposed = CublasLtLibrary.Transposed;
            CublasLtLibrary.Check(CublasLtLibrary.SetDescriptor(descriptor, CublasLtLibrary.TransposeA, &transposed, sizeof(int)), "transposed weights");

            // Columns first, as the library counts: W is [inputs, outputs], transposed; x is [inputs, rows]; y is [outputs, rows].
            nint weightLayout = Layout(inputs, outputs), inputLayout = Layout(inputs, rows), outputLayout = Layout(outputs, rows);
            CublasLtLibrary.Check(CublasLtLibrary.CreatePreference(out nint preference), "cublasLtMatmulPreferenceCreate");
            releases.Push(() => _ = CublasLtLibrary.DestroyPreference(preference));
            nuint workspaceBytes = WorkspaceBytes;
            CublasLtLibrary.Check(
                CublasLtLibrary.SetPreference(preference, CublasLtLibrary.MaxWorkspaceBytes, &workspaceBytes, (nuint)sizeof(nuint)), "workspace");
            CublasLtLibrary.Heuristic[] best = new CublasLtLibrary.Heuristic[1];
            fixed (CublasLtLibrary.Heuristic* first = best)
            {
                CublasLtLibrary.Check(
                    CublasLtLibrary.FindAlgorithm(handle, descriptor, weightLayout, inputLayout, outputLayout, outputLayout, preference, 1, first, out int found),
                    "cublasLtMatmulAlgoGetHeuristic");
                if (found == 0)
                {
                    throw new InvalidOperationException($"cuBLASLt has no algorithm for {rows} x {outputs} x {inputs}");
                }
            }

            void Multiply()
            {
                float one = 1, zero = 0;
                fixed (CublasLtLibrary.Heuristic* chosen = best)
                {
                    CublasLtLibrary.Check(
                        CublasLtLibrary.Multiply(
                            handle, descriptor, &one, weights.Address, weightLayout, x.Address, inputLayout, &zero, y.Address, outputLayout, y.Address, outputLayout,
                            chosen->Algorithm, workspace.Address, WorkspaceBytes, stream.Pointer),
                        "cublasLtMatmul");
                }
            }

            for (int i = 0; i < 3; i++)
            {
                Multiply();
            }

            double seconds = Statistics.Median([.. Enumerable.Range(0, Slices).Select(_ => timer.Seconds(stream, Multiply))]);
            return 2.0 * rows * outputs * inputs / seconds;
        }
        finally
        {
            stream.Synchronize();
            foreach (Action release in releases)
            {
                release();
            }
        }

        nint Layout(int inner, int outer)
        {
            CublasLtLibrary.Check(CublasLtLibrary.CreateLayout(out nint layout, CublasLtLibrary.BFloat16, (ulong)inner, (ulong)outer, inner), "cublasLtMatrixLayoutCreate");
            releases.Push(() => _ = CublasLtLibrary.DestroyLayout(layout));
            return layout;
        }
    }
}
