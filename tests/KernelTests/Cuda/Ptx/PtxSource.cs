namespace InferenceServer.KernelTests.Cuda.Ptx;

/// <summary>Kernels written as PTX, for tests of the interpreter itself.</summary>
internal static class PtxSource
{
    /// <summary>
    /// A kernel "k" of two pointers, to what it reads (<c>%rd1</c>) and to what it writes (<c>%rd2</c>), with the thread's number in <c>%r1</c> and that times
    /// four in <c>%rd3</c>.
    /// </summary>
    /// <param name="body">Its instructions, with <c>%p</c>, <c>%h</c> (16 bits), <c>%r</c>, <c>%f</c>, <c>%rd</c> and <c>%fd</c> as registers.</param>
    /// <param name="declarations">Before the kernel.</param>
    public static string Kernel(string body, string declarations = "") => $$"""
        .version 7.8
        .target sm_80
        .address_size 64
        {{declarations}}
        .visible .entry k(.param .u64 k_param_0, .param .u64 k_param_1)
        .maxntid 256, 1, 1
        {
            .reg .pred %p<10>;
            .reg .b16 %h<20>;
            .reg .b32 %r<40>;
            .reg .f32 %f<40>;
            .reg .b64 %rd<40>;
            .reg .f64 %fd<20>;
            ld.param.u64 %rd1, [k_param_0];
            ld.param.u64 %rd2, [k_param_1];
            mov.u32 %r1, %tid.x;
            mul.wide.u32 %rd3, %r1, 4;
            {{body}}
            ret;
        }
        """;
}
