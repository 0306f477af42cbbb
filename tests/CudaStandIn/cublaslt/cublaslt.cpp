// cuBLASLt's matrix product. Sums run over k = 0, 1, ... in f32 whatever the shape, so that a row's result does not depend on its batch;
// the real library promises no such thing.
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>
#include "../driver/memory.h"
#include "../driver/state.h"
#include "../driver/streams.h"
#include "../shim/maths.h"

namespace
{
enum Status { Ok = 0, NotReady = 1, AllocationFailed = 3, BadValue = 7, NotSupported = 15 };
enum Type { F32 = 0, F16 = 2, BF16 = 14 };
enum Compute { Compute32F = 68, Compute32FPedantic = 69, ComputeFastBF16 = 75, ComputeFastTF32 = 77 };
enum Epilogue { None = 1, Relu = 2, Bias = 4, ReluBias = 6 };

struct Description
{
    int compute, scaleType;
    int transposeA = 0, transposeB = 0, epilogue = None;
    uint64_t bias = 0;
    int biasType = -1;      // -1: as D
    int pointerMode = 0;
};

struct Layout
{
    int type;
    uint64_t rows, columns;
    int64_t leading;
    int order = 0, batches = 1;
    int64_t stride = 0;
};

struct Preference
{
    uint64_t workspaceBytes = 0;
    uint32_t alignment[4] = {256, 256, 256, 256};       // of A, B, C, D: what the library assumes if it is not told
};

// What the stand-in keeps in the 64 opaque bytes of an algorithm.
struct Algorithm
{
    uint64_t magic;
    uint64_t workspaceBytes;
    uint32_t alignment[4];
    uint64_t m, n, k;
};

constexpr uint64_t Magic = 0x1a2b3c4d5e6f7081ull;

struct HeuristicResult
{
    Algorithm algorithm;
    char unused[64 - sizeof(Algorithm)];
    size_t workspaceBytes;
    int state;
    float waves;
    int reserved[4];
};

static_assert(sizeof(HeuristicResult) == 96, "as in cublasLt.h");

int bytes_of(int type) { return type == F32 ? 4 : 2; }

uint64_t extent(const Layout& l)
{
    const uint64_t one = l.columns == 0 || l.rows == 0 ? 0 : uint64_t(l.leading) * (l.columns - 1) + l.rows;
    return (uint64_t(l.stride) * uint64_t(l.batches - 1) + one) * uint64_t(bytes_of(l.type));
}

float read(const void* p, int type, uint64_t i)
{
    return type == BF16 ? __uint_as_float(unsigned(static_cast<const uint16_t*>(p)[i]) << 16) : static_cast<const float*>(p)[i];
}

void write(void* p, int type, uint64_t i, float value)
{
    if (type == BF16)
    {
        static_cast<uint16_t*>(p)[i] = shim_f2bf(value);
    }
    else
    {
        static_cast<float*>(p)[i] = value;
    }
}

float rounded(float x, int compute)
{
    if (compute == ComputeFastTF32)
    {
        const unsigned u = __float_as_uint(x);
        return __uint_as_float((u + 0xfff + (u >> 13 & 1)) & 0xffffe000u);
    }

    return compute == ComputeFastBF16 ? __uint_as_float(unsigned(shim_f2bf(x)) << 16) : x;
}

struct Product
{
    Description d;
    Layout a, b, c, out;
    float alpha, beta;
    const char *A, *B, *C;
    char* D;
    uint64_t m, n, k;

    void run() const
    {
        std::vector<float> left(m * k);         // [k][m]: the inner loop goes along m and adds for each output in the order of k
        std::vector<float> sums(m);
        for (int batch = 0; batch < out.batches; batch++)
        {
            const char* pa = A + uint64_t(batch) * uint64_t(a.stride) * uint64_t(bytes_of(a.type));
            const char* pb = B + uint64_t(batch) * uint64_t(b.stride) * uint64_t(bytes_of(b.type));
            for (uint64_t i = 0; i < m; i++)
            {
                for (uint64_t x = 0; x < k; x++)
                {
                    left[x * m + i] = rounded(read(pa, a.type, d.transposeA ? i * uint64_t(a.leading) + x : x * uint64_t(a.leading) + i), d.compute);
                }
            }

            for (uint64_t j = 0; j < n; j++)
            {
                std::fill(sums.begin(), sums.end(), 0.f);
                for (uint64_t x = 0; x < k; x++)
                {
                    const float f = rounded(read(pb, b.type, d.transposeB ? x * uint64_t(b.leading) + j : j * uint64_t(b.leading) + x), d.compute);
                    for (uint64_t i = 0; i < m; i++)
                    {
                        sums[i] += left[x * m + i] * f;
                    }
                }

                finish_column(batch, j, sums);
            }
        }
    }

    void finish_column(int batch, uint64_t j, const std::vector<float>& sums) const
    {
        const char* pc = C + uint64_t(batch) * uint64_t(c.stride) * uint64_t(bytes_of(c.type));
        char* pd = D + uint64_t(batch) * uint64_t(out.stride) * uint64_t(bytes_of(out.type));
        for (uint64_t i = 0; i < m; i++)
        {
            float value = alpha * sums[i];
            value += beta == 0.f ? 0.f : beta * read(pc, c.type, j * uint64_t(c.leading) + i);
            value += d.epilogue & Bias ? read(reinterpret_cast<void*>(d.bias), d.biasType < 0 ? out.type : d.biasType, i) : 0.f;
            write(pd, out.type, j * uint64_t(out.leading) + i, d.epilogue & Relu ? fmaxf(value, 0.f) : value);
        }
    }
};

// What of a product cuBLASLt would refuse.
int check(const Description& d, const Layout& a, const Layout& b, const Layout& c, const Layout& out, uint64_t& m, uint64_t& n, uint64_t& k)
{
    m = d.transposeA ? a.columns : a.rows;
    k = d.transposeA ? a.rows : a.columns;
    n = d.transposeB ? b.rows : b.columns;
    const uint64_t kOfB = d.transposeB ? b.columns : b.rows;
    if (k != kOfB || out.rows != m || out.columns != n || c.rows != m || c.columns != n)
    {
        return driver::failed(BadValue, "cublasLt: the shapes do not fit"), BadValue;
    }

    for (const Layout* l : {&a, &b, &c, &out})
    {
        if (l->leading < int64_t(l->rows) || l->batches != out.batches)
        {
            return driver::failed(BadValue, "cublasLt: a leading dimension below its rows, or batches that differ"), BadValue;
        }
    }

    const bool bf16 = a.type == BF16 && b.type == BF16 && (out.type == BF16 || out.type == F32) && c.type == out.type;
    const bool f32 = a.type == F32 && b.type == F32 && out.type == F32 && c.type == F32;
    const bool compute = d.compute == Compute32F || d.compute == Compute32FPedantic || (f32 && (d.compute == ComputeFastTF32 || d.compute == ComputeFastBF16));
    if ((!bf16 && !f32) || !compute || d.scaleType != F32 || m == 0 || n == 0 || k == 0)
    {
        return driver::failed(NotSupported, "cublasLt: types or sizes that the stand-in does not know"), NotSupported;
    }

    return Ok;
}

bool aligned(uint64_t address, uint32_t to) { return address % to == 0; }
}

API int cublasLtCreate(void** handle)
{
    *handle = new int;
    return Ok;
}

API int cublasLtDestroy(void* handle)
{
    delete static_cast<int*>(handle);
    return Ok;
}

API size_t cublasLtGetVersion() { return 120800; }

API const char* cublasLtGetStatusString(int status)
{
    return status == Ok ? "CUBLAS_STATUS_SUCCESS" : status == BadValue ? "CUBLAS_STATUS_INVALID_VALUE" : status == NotSupported ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS unknown";
}

API int cublasLtMatmulDescCreate(void** description, int compute, int scaleType)
{
    *description = new Description{compute, scaleType};
    return Ok;
}

API int cublasLtMatmulDescDestroy(void* description)
{
    delete static_cast<Description*>(description);
    return Ok;
}

API int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t bytes)
{
    Description& d = *static_cast<Description*>(handle);
    void* target = nullptr;
    size_t expected = 4;
    switch (attribute)
    {
        case 2: target = &d.pointerMode; break;
        case 3: target = &d.transposeA; break;
        case 4: target = &d.transposeB; break;
        case 7: target = &d.epilogue; break;
        case 8: target = &d.bias; expected = 8; break;
        case 26: target = &d.biasType; break;
        default: return NotSupported;
    }

    if (bytes != expected)
    {
        return BadValue;
    }

    memcpy(target, value, bytes);
    const bool transposes = d.transposeA >= 0 && d.transposeA <= 1 && d.transposeB >= 0 && d.transposeB <= 1;
    const bool epilogue = d.epilogue == None || d.epilogue == Relu || d.epilogue == Bias || d.epilogue == ReluBias;
    return transposes && epilogue && d.pointerMode == 0 ? Ok : NotSupported;
}

API int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading)
{
    if (type != F32 && type != BF16 && type != F16)
    {
        return NotSupported;
    }

    *layout = new Layout{type, rows, columns, leading};
    return Ok;
}

API int cublasLtMatrixLayoutDestroy(void* layout)
{
    delete static_cast<Layout*>(layout);
    return Ok;
}

API int cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* value, size_t bytes)
{
    Layout& l = *static_cast<Layout*>(handle);
    switch (attribute)
    {
        case 1: memcpy(&l.order, value, 4); return bytes == 4 && l.order == 0 ? Ok : NotSupported;
        case 2: memcpy(&l.rows, value, 8); return bytes == 8 ? Ok : BadValue;
        case 3: memcpy(&l.columns, value, 8); return bytes == 8 ? Ok : BadValue;
        case 4: memcpy(&l.leading, value, 8); return bytes == 8 ? Ok : BadValue;
        case 5: memcpy(&l.batches, value, 4); return bytes == 4 ? Ok : BadValue;
        case 6: memcpy(&l.stride, value, 8); return bytes == 8 ? Ok : BadValue;
        default: return NotSupported;
    }
}

API int cublasLtMatmulPreferenceCreate(void** preference)
{
    *preference = new Preference;
    return Ok;
}

API int cublasLtMatmulPreferenceDestroy(void* preference)
{
    delete static_cast<Preference*>(preference);
    return Ok;
}

API int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* value, size_t bytes)
{
    Preference& p = *static_cast<Preference*>(handle);
    if (attribute == 1 && bytes == 8)
    {
        memcpy(&p.workspaceBytes, value, 8);
        return Ok;
    }

    if (attribute >= 5 && attribute <= 8 && bytes == 4)
    {
        memcpy(&p.alignment[attribute - 5], value, 4);
        return Ok;
    }

    return attribute == 3 ? Ok : NotSupported;      // 3: which reductions may be used
}

API int cublasLtMatmulAlgoGetHeuristic(void*, void* d, void* a, void* b, void* c, void* out, void* preference, int wanted, void* results, int* found)
{
    std::lock_guard lock(driver::state().gate);
    const Preference& p = *static_cast<Preference*>(preference);
    Algorithm algorithm{Magic, std::min<uint64_t>(p.workspaceBytes, 4 << 20), {p.alignment[0], p.alignment[1], p.alignment[2], p.alignment[3]}, 0, 0, 0};
    *found = 0;
    const int status = check(*static_cast<Description*>(d), *static_cast<Layout*>(a), *static_cast<Layout*>(b), *static_cast<Layout*>(c),
        *static_cast<Layout*>(out), algorithm.m, algorithm.n, algorithm.k);
    if (status != Ok || wanted < 1)
    {
        return status != Ok ? status : int(BadValue);
    }

    HeuristicResult result{};
    result.algorithm = algorithm;
    result.workspaceBytes = algorithm.workspaceBytes;
    result.waves = 1;
    memcpy(results, &result, sizeof result);
    *found = 1;
    return Ok;
}

API int cublasLtMatmul(void*, void* d, const void* alpha, uint64_t A, void* a, uint64_t B, void* b, const void* beta, uint64_t C, void* c, uint64_t D, void* out,
    const void* algorithm, uint64_t workspace, size_t workspaceBytes, void* stream)
{
    std::lock_guard lock(driver::state().gate);
    if (driver::entered())
    {
        return 13;          // CUBLAS_STATUS_EXECUTION_FAILED
    }

    if (const int refused = driver::injected(driver::Call::MatMul))
    {
        return refused;
    }

    Product p{*static_cast<Description*>(d), *static_cast<Layout*>(a), *static_cast<Layout*>(b), *static_cast<Layout*>(c), *static_cast<Layout*>(out),
        *static_cast<const float*>(alpha), *static_cast<const float*>(beta), reinterpret_cast<const char*>(A), reinterpret_cast<const char*>(B),
        reinterpret_cast<const char*>(C), reinterpret_cast<char*>(D), 0, 0, 0};
    if (const int status = check(p.d, p.a, p.b, p.c, p.out, p.m, p.n, p.k))
    {
        return status;
    }

    Algorithm chosen{Magic, 0, {16, 16, 16, 16}, p.m, p.n, p.k};
    if (algorithm)
    {
        memcpy(&chosen, algorithm, sizeof chosen);
    }

    if (chosen.magic != Magic || chosen.m != p.m || chosen.n != p.n || chosen.k != p.k)
    {
        return driver::failed(BadValue, "cublasLtMatmul: an algorithm of another product");
    }

    if (!aligned(A, chosen.alignment[0]) || !aligned(B, chosen.alignment[1]) || (p.beta != 0.f && !aligned(C, chosen.alignment[2])) || !aligned(D, chosen.alignment[3]))
    {
        return driver::failed(BadValue, "cublasLtMatmul: a matrix is less aligned than the heuristic was told (attributes 5 to 8 of the preference; 256 bytes without)");
    }

    if (workspaceBytes < chosen.workspaceBytes || (workspaceBytes > 0 && (!driver::on_device(workspace, workspaceBytes) || !aligned(workspace, 16))))
    {
        return driver::failed(BadValue, "cublasLtMatmul: the workspace is too small, not on the device, or not aligned");
    }

    if (!driver::on_device(A, extent(p.a)) || !driver::on_device(B, extent(p.b)) || !driver::on_device(D, extent(p.out)) || (p.beta != 0.f && !driver::on_device(C, extent(p.c))))
    {
        return driver::failed(BadValue, "cublasLtMatmul: a matrix reaches out of device memory");     // on hardware a later illegal address, or nothing
    }

    return driver::submit(stream, [p, workspace, bytes = chosen.workspaceBytes]
    {
        driver::state().counters.matMulsRun++;
        memset(reinterpret_cast<void*>(workspace), 0xff, std::min<uint64_t>(bytes, 4096));     // another stream's product would find this in its own
        p.run();
    });
}
