// y = x w^T with bf16 weights; see product.cuh.
#include "product.cuh"

struct BF16Weights {
  static const int RECORD = BLOCK_OUTPUTS * 128;

  static __device__ __forceinline__ void prepare(u8*) {}

  // 128 rows of 64 inputs, 8 chunks of 16 bytes each; chunk c of row r lies at c ^ (r % 8), so that 8 rows' same chunks lie in all banks. A
  // thread copies the same chunk of every 16th row.
  template <int STEP> static __device__ __forceinline__ void load(u8* target, const Weights& w, int first_output, int record, int end) {
    static_assert(STEP == 1, "one record at a time");
    const int thread = threadIdx.x & (GROUP_THREADS - 1), chunk = thread & 7, row = thread >> 3;
    const int rows = ((w.outputs + 15) & ~15) - first_output;   // the matrix is padded to whole units
    const int k = record * 64 + chunk * 8;
    const bool is_inside = record < end && k < w.stride;
    const u8* from = w.weights + ((i64)(first_output + row) * w.stride + k) * 2;
    const i64 pitch = (i64)w.stride * 32;
    target += row * 128 + ((chunk ^ (row & 7)) << 4);
#pragma unroll
    for (int i = 0; i < 8; i++) cp_async16(target + i * 16 * 128, from + i * pitch, is_inside && row + i * 16 < rows);
  }

  template <int NT>
  static __device__ __forceinline__ void multiply(const u8* weights, int, int r, const u8* x, const u8*, Sums<NT>& sums) {
    const int lane = threadIdx.x & 31, row = ((threadIdx.x >> 5) & 3) * 32 + (lane & 15);
    const u8* record = weights + r * RECORD + row * 128;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      u32 a[2][2][4];
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int t = 0; t < 2; t++) ldmatrix_x4(a[m][t], record + m * 16 * 128 + (((half * 4 + t * 2 + (lane >> 4)) ^ (row & 7)) << 4));
#pragma unroll
      for (int n = 0; n < NT; n++) {
        const uint4 words = Fragments<NT>::at(x, half, n);
        const u32 b[2][2] = {{words.x, words.y}, {words.z, words.w}};
#pragma unroll
        for (int t = 0; t < 2; t++)
#pragma unroll
          for (int m = 0; m < 2; m++) mma16816(sums.of[m][n], a[m][t], b[t]);
      }
    }
  }
};

PRODUCT(product_bf16_8, BF16Weights, 1, 1, 2)
PRODUCT(product_bf16_16, BF16Weights, 2, 1, 2)
PRODUCT(product_bf16_32, BF16Weights, 4, 1, 1)
PRODUCT(product_bf16_64, BF16Weights, 8, 1, 1)
